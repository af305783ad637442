"""The local hypernetwork (Lorraine and Duvenaud 2018, figure 4)."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Config:
    """Ten pictures, one regulariser: a linear response follows it to the optimum."""

    data: Literal["digits", "mnist-small", "mnist"] = "mnist-small"
    """scikit-learn's 8 x 8 digits, the bundled part of MNIST, or all of it (to be fetched)."""
    n_train: int = 10
    """Pictures that weights are fitted to."""
    n_valid: int = 1000
    """Pictures that the regulariser is fitted to."""
    response: Literal["linear", "centred"] = "centred"
    """The paper's linear response, or the centred one."""
    start: float = -3.5
    """log lambda at the start."""
    n_samples: int = 2
    """Regularisers drawn in each step."""
    around: float = 0.3
    """Their standard deviation in log lambda."""
    n_steps: int = 4000
    """Steps."""
    n_refit: int = 2000
    """Steps of each refit."""
    seed: int = 0
    """Determines draws."""


SCALES = {
    "quick": Config(),
    "full": Config(data="mnist", n_valid=10_000, n_steps=10_000, n_refit=5000),
}
DEMO = None
