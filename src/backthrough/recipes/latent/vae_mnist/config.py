"""A variational auto-encoder on binarised digits (Kingma and Welling 2014; Burda et al. 2015)."""

from dataclasses import dataclass
from typing import Literal

from backthrough.recipes.configs import Panel, Source


@dataclass(frozen=True)
class Config:
    """A VAE with tanh layers, a factorised Gaussian posterior and a Bernoulli likelihood."""

    data: Source = "mnist-small"
    """Name of an image data set, an image folder, or an .npy/.npz file of images."""
    binarisation: Literal["dynamic", "static", "threshold"] = "dynamic"
    """How grey levels become 0 or 1 in training: drawn anew at each visit, drawn once, or cut at one half."""
    objective: Literal["elbo", "iwae"] = "elbo"
    """Bound that is maximised."""
    n_samples: int = 1
    """Posterior draws in the training bound."""
    latent_size: int = 50
    """Latent dimensions."""
    hidden_size: int = 200
    """Width of the two hidden layers of encoder and decoder."""
    batch_size: int = 50
    """Images in a batch."""
    ladder_stages: int = 4
    """Stages i = 0, 1, ... of 3^i passes over the data: 40 passes for 4, 3,280 for 8."""
    schedule: Literal["ladder", "constant", "linear", "cosine", "exponential"] = "ladder"
    """How the learning rate falls over all passes; the ladder's is 10^(-i/7) times the largest in stage i."""
    learning_rate: float = 3e-3
    """The largest learning rate, that of the first stage."""
    n_followed: int = 500
    """Test images on which the bound is followed during training."""
    n_deep: int = 100
    """Test images, shuffled, for the 5,000-sample bound."""
    seed: int = 0
    """Determines weights, order, noise and binarisation."""


SCALES = {
    "quick": Config(),
    "full": Config(
        data="binarized-mnist",
        binarisation="static",
        batch_size=20,
        ladder_stages=8,
        learning_rate=1e-3,
    ),
}
DEMO = Panel(
    Config(),
    method="Variational auto-encoder",
    what="Learns to draw pictures from a few latent numbers; importance weighting makes its bound on the "
    "likelihood tight.",
)
