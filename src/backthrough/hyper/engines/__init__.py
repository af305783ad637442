"""Engines: how the derivative of the validation loss by the hyperparameters is found."""

from backthrough.hyper.engines.engine import Engine, Found, Place
from backthrough.hyper.engines.hypernet_global import GlobalHypernet
from backthrough.hyper.engines.hypernet_local import LocalHypernet
from backthrough.hyper.engines.hypernet_simplified import SimplifiedHypernet
from backthrough.hyper.engines.implicit import Implicit
from backthrough.hyper.engines.inverses import CG, Direct, Inverse, Neumann
from backthrough.hyper.engines.unroll import Unroll

__all__ = [
    "CG",
    "Direct",
    "Engine",
    "Found",
    "GlobalHypernet",
    "Implicit",
    "Inverse",
    "LocalHypernet",
    "Neumann",
    "Place",
    "SimplifiedHypernet",
    "Unroll",
]
