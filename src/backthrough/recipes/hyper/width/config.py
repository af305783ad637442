"""Larger hypernetworks (Lorraine and Duvenaud 2018, section 2: with enough units they reach local optima)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Global hypernetworks of growing width for one regulariser of digits, whose best response is exact."""

    widths: tuple[int, ...] = (1, 3, 10, 30, 100)
    """Hidden units."""
    n_train: int = 30
    """Digits that weights are fitted to."""
    n_steps: int = 3000
    """Steps, two thirds of them of the hypernetwork."""
    n_samples: int = 10
    """Regularisers drawn in each step."""
    learning_rate: float = 3e-3
    """Of the hypernetwork."""
    n_seeds: int = 3
    """Hypernetworks of each width."""
    seed: int = 0
    """Determines their weights, and draws."""


SCALES = {"quick": Config(widths=(1, 10, 50), n_seeds=2), "full": Config(n_steps=30_000)}
DEMO = None
