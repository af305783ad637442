"""A VAE with Bernoulli layers, trained by several gradient estimators (Grathwohl et al. 2018, sec. 5.2)."""

from dataclasses import dataclass
from typing import Literal

from backthrough.recipes.configs import Source

Name = Literal[
    "REINFORCE", "leave-one-out", "DisARM", "REBAR", "RELAX", "Concrete", "straight-through", "ReinMax"
]


@dataclass(frozen=True)
class Config:
    """Layers of 200 Bernoulli units; the estimators are trained side by side on the same batches."""

    data: Source = "mnist-small"
    """"omniglot", or the name of another image data set, an image folder, or an .npy/.npz file of images."""
    estimators: tuple[Name, ...] = ("leave-one-out", "DisARM", "RELAX", "straight-through")
    """Gradient estimators, side by side."""
    n_layers: int = 1
    """Layers of Bernoulli units."""
    n_hidden: int = 0
    """Tanh layers of 200 units between them; 0 is a linear model."""
    control_hidden: int = 4
    """ReLU layers of RELAX's control variate."""
    control_decay: float = 1e-3
    """Weight decay of the control variate's network."""
    learning_rate: float = 1e-3
    """Of Adam, with b2 = 0.99999, for model and control variate."""
    batch_size: int = 24
    """Images in a batch."""
    n_steps: int = 600
    """Steps of each estimator."""
    n_seeds: int = 1
    """Copies of each training, in one program."""
    n_variance: int = 24
    """Images at which the variance of the gradient is followed, with 40 draws each."""
    seed: int = 0
    """Determines weights, order and noise."""


SCALES = {"quick": Config(), "full": Config(data="omniglot", n_steps=2_000_000, n_seeds=3)}
DEMO = None
