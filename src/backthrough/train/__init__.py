"""The training loop, run directories and checkpoints that every room uses.

The public names stand in `__init__.pyi`. Each is loaded when it is first used, so that the command line can
refuse wrong use before it imports JAX.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
