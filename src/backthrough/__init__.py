"""backthrough: gradients and inference carried through what backpropagation stops at.

Rooms are loaded when they are first used, so that `import backthrough` costs nothing:

    >>> import backthrough as bt
    >>> bt.core.log_mean_exp
    <function log_mean_exp at ...>
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submodules=["core", "datasets", "latent", "ode", "recipes", "report", "train"]
)
