"""backthrough: gradients and inference carried through what backpropagation stops at.

Rooms are loaded when they are first used, so that `import backthrough` costs nothing:

    >>> import backthrough as bt
    >>> bt.core.log_mean_exp
    <function log_mean_exp at ...>
"""

import importlib.metadata
import os

import lazy_loader

__version__ = "0.1.0"

MISCOMPILING_JAXLIBS = ("0.10.2", "0.11.0")  # both accept the flag; others may end the process over it
FUSIONS = "--xla_cpu_experimental_ynn_fusion_type"


def _switch_off_wrong_fusions() -> None:
    """Keeps these jaxlibs from fusions that compute wrong numbers on CPUs without a word (jax-ml/jax#39103).

    Read by JAX when it first computes; whoever computes before importing backthrough must set it themselves.
    """
    flags = os.environ.get("XLA_FLAGS", "").strip()
    is_file = flags and not flags.startswith("-")  # XLA reads the name of a file of flags too
    if importlib.metadata.version("jaxlib") in MISCOMPILING_JAXLIBS and FUSIONS not in flags and not is_file:
        os.environ["XLA_FLAGS"] = f"{flags} {FUSIONS}=".strip()


_switch_off_wrong_fusions()

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "core",
        "datasets",
        "density",
        "estimators",
        "explain",
        "flows",
        "forecast",
        "hyper",
        "latent",
        "natgrad",
        "nets",
        "ode",
        "recipes",
        "recommend",
        "regress",
        "report",
        "train",
    ],
)
