"""A latent ODE beside an RNN on irregularly observed spirals, and beyond the data (Chen et al. 2018)."""

from dataclasses import dataclass

from backthrough.recipes.configs import Panel


@dataclass(frozen=True)
class Config:
    """Both see the same noisy points of each spiral and go on for as long again."""

    n_points: int = 30
    """Of the 100 times of a window, how many each spiral keeps: 30, 50 and 100 in the paper."""
    n_train: int = 1000
    """Spirals to train on, half of them clockwise."""
    n_test: int = 200
    """Fresh spirals to measure on."""
    n_steps: int = 1000
    """Steps of Adam."""
    batch_size: int = 100
    """Spirals in a batch."""
    learning_rate: float = 0.01
    """The largest; it falls along half a cosine."""
    latent_size: int = 4
    """Latent dimensions."""
    hidden_size: int = 20
    """Width of vector field and decoder; encoder and RNN have a quarter more."""
    tolerance: float = 1e-3
    """Of the solver."""
    seed: int = 0
    """Determines spirals, weights, order and noise."""


SCALES = {
    "quick": Config(n_steps=700, batch_size=15, n_test=100),
    "full": Config(n_steps=4000, n_test=1000),
}
DEMO = Panel(
    Config(n_steps=700, batch_size=15, n_test=12),  # few lanes compile in a third of the time
    method="Latent ODE",
    what="Reads a series at irregular times, and continues it to any time along a differential "
    "equation that it has learned.",
)
