"""Active learning: which row to label next (Zhang et al. 2018, section 5.3)."""

from dataclasses import dataclass
from typing import Literal

METHODS = ("noisy-kfac", "noisy-ekfac", "noisy-adam", "noisy-full", "bayes-by-backprop", "mc-dropout")


@dataclass(frozen=True)
class Config:
    """A table of which a few rows are labelled, then more one at a time, each time with a new network."""

    data: str = "energy"
    """Name of a regression table, such as boston-housing; `backthrough data list` has them all."""
    methods: tuple[str, ...] = ("noisy-kfac", "noisy-adam")
    """Which of noisy-kfac, noisy-ekfac, noisy-adam, noisy-full, bayes-by-backprop and mc-dropout."""
    n_runs: int = 10
    """Random divisions into labelled rows, pool and test rows, all trained at once."""
    n_labelled: int = 20
    """Rows that are labelled at the start."""
    n_acquired: int = 9
    """Rows that are labelled after that, one at a time."""
    n_test: int = 100
    """Test rows."""
    n_hidden: int = 10
    """Hidden units."""
    n_steps: int = 2000
    """Minibatches for each network: then the log-likelihood of the labelled rows has levelled off."""
    batch_size: int = 10
    """Rows in a minibatch."""
    noise: Literal["paper", "weak"] = "paper"
    """Prior of the noise's precision: the paper's Gamma(6, 6), or Gamma(1, 0.02)."""
    damping_style: Literal["factored", "exact"] = "exact"
    """How noisy K-FAC is damped; "factored" makes it too certain where no labelled row lies."""
    n_draws: int = 100
    """Draws of the weights behind each prediction."""
    seed: int = 0
    """Determines divisions, weights, minibatches and draws."""


SCALES = {"quick": Config(n_steps=1000), "full": Config(n_runs=40)}
DEMO = None
