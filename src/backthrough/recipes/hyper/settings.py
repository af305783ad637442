"""The options that recipes about regularisers share."""

from dataclasses import dataclass
from typing import Literal

ENGINES = ("centred", "elementwise", "factorised", "implicit", "linear", "unroll")


@dataclass(frozen=True)
class Settings:
    """Options of a recipe that tunes regularisers of a linear model."""

    data: Literal["digits", "mnist-small", "mnist"] = "digits"
    """scikit-learn's 8 x 8 digits, the bundled part of MNIST, or all of it (to be fetched)."""
    per: str = "output"
    """What has a regulariser of its own: output (each class) or weight."""
    n_train: int = 100
    """Pictures that weights are fitted to."""
    n_valid: int = 10_000
    """Pictures that hyperparameters are fitted to; digits have 600."""
    engines: tuple[str, ...] = ("centred",)
    """Which of centred, elementwise, factorised, implicit, linear and unroll."""
    n_steps: int = 3000
    """Steps of the run."""
    start: float = 0.02
    """Where each regulariser starts."""
    hyper_rate: float = 0.02
    """Learning rate of the regularisers, in units of log lambda."""
    n_seeds: int = 1
    """Runs of each engine, with other samples."""
    equal_seconds: float | None = None
    """Seconds for a comparison at equal time of the engines and random search; None for none."""
    seed: int = 0
    """Determines them."""
