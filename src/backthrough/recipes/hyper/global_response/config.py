"""The global hypernetwork (Lorraine and Duvenaud 2018, figure 2)."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Config:
    """Ten pictures, one regulariser: the validation loss as a hypernetwork and as refits have it."""

    data: Literal["digits", "mnist-small", "mnist"] = "mnist-small"
    """scikit-learn's 8 x 8 digits, the bundled part of MNIST, or all of it (to be fetched)."""
    n_train: int = 10
    """Pictures that weights are fitted to."""
    n_valid: int = 1000
    """Pictures that the regulariser is fitted to."""
    width: int = 50
    """Hidden units of the hypernetwork."""
    learning_rate: float = 1e-3
    """Of the hypernetwork."""
    n_samples: int = 10
    """Regularisers drawn in each step."""
    spread: float = 1.5
    """Their standard deviation in log lambda, around 0."""
    n_steps: int = 3000
    """Steps, two thirds of them of the hypernetwork."""
    n_refit: int = 2000
    """Steps of each refit."""
    seed: int = 0
    """Determines weights and draws."""


SCALES = {
    "quick": Config(),
    "full": Config(data="mnist", n_valid=10_000, n_steps=30_000, n_refit=5000),
}
DEMO = None
