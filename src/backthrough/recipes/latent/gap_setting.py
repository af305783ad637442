"""What the experiments on inference gaps have in common to be asked for (Cremer, Li and Duvenaud 2018)."""

from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from backthrough.recipes.configs import Source


@dataclass(frozen=True)
class Setting:
    """A VAE with ELU layers, a Bernoulli likelihood, and posteriors of two families."""

    data: Source = "mnist-small"
    """"omniglot", or the name of another image data set, an image folder, or an .npy/.npz file of images."""
    binarisation: Literal["dynamic", "static", "threshold"] = "dynamic"
    """How grey levels become 0 or 1 in training: drawn anew at each visit, drawn once, or cut at one half."""
    flow: Literal["coupling", "auxiliary"] = "coupling"
    """The richer family: couplings of z's two halves, or the paper's couplings with auxiliary variables."""
    flow_depth: int = 4
    """Couplings of the flow."""
    latent_size: int = 50
    """Latent dimensions."""
    hidden_size: int = 200
    """Width of the two hidden layers of encoder and decoder."""
    epochs: int = 3
    """Passes over the data of each training."""
    warm_up: int = 0
    """Passes over which the weight of the entropy of q rises from 0 to 1, when the decoder is trained."""
    batch_size: int = 100
    """Images in a batch."""
    schedule: Literal["ladder", "constant", "cosine"] = "cosine"
    """How the learning rate falls; the ladder's is 10^(-i/7) of the largest for 3^i passes, i = 0, 1, ..."""
    learning_rate: float = 2e-3
    """The largest learning rate."""
    n_images: int = 24
    """Held-out images, shuffled, on which the gaps are measured."""
    n_samples: int = 500
    """Draws in each ELBO, and weights of the importance sampling."""
    n_optimisation_steps: int = 200
    """Steps to the best posterior of each image."""
    seed: int = 0
    """Determines weights, order, noise and binarisation."""


Own = TypeVar("Own", bound=Setting)


def at_full_scale(config: Own) -> Own:
    """The paper's data and length of training, with its learning-rate ladder and warm-up."""
    return replace(
        config,
        data="binarized-mnist",
        binarisation="static",
        epochs=3280,
        warm_up=400,
        schedule="ladder",
        learning_rate=1e-3,
        n_images=100,
        n_samples=5000,
        n_optimisation_steps=800,
    )
