"""The UCI regression benchmark (Zhang et al. 2018, section 5.1)."""

from dataclasses import dataclass
from typing import Literal

METHODS = ("noisy-kfac", "noisy-ekfac", "noisy-adam", "bayes-by-backprop", "mc-dropout", "map")


@dataclass(frozen=True)
class Config:
    """One table, its standard splits, one hidden layer, several methods."""

    data: str = "yacht"
    """Name of a regression table, such as boston-housing or kin8nm; `backthrough data list` has them all."""
    methods: tuple[str, ...] = ("noisy-kfac", "noisy-adam", "map")
    """Which of noisy-kfac, noisy-ekfac, noisy-adam, bayes-by-backprop, mc-dropout and map; the first is
    compared with each of the others, split by split."""
    noise: Literal["paper", "weak"] = "paper"
    """Prior of the noise's precision: the paper's Gamma(6, 6), a cap on the likelihood, or Gamma(1, 0.02)."""
    damping_style: Literal["factored", "exact"] = "factored"
    """How noisy K-FAC is damped."""
    n_splits: int = 5
    """The first so many standard splits, all trained at once."""
    n_epochs: int = 150
    """Passes over the training rows; 0 for those of BayesianRegressor."""
    batch_size: int = 10
    """Rows in a minibatch; 0 for those of BayesianRegressor."""
    n_draws: int = 100
    """Draws of the weights behind each prediction."""
    seed: int = 0
    """Determines weights, order and draws."""


SCALES = {
    "quick": Config(),
    "full": Config(methods=METHODS, n_splits=20, n_epochs=400),
}
DEMO = None
