"""Beta-TCVAE beside beta-VAE on pictures whose factors nobody knows (Chen et al. 2018, section 6)."""

from dataclasses import dataclass

from backthrough.recipes.configs import Panel, Source
from backthrough.recipes.latent.tcvae_setting import Setting


@dataclass(frozen=True)
class Config(Setting):
    """Pictures, and VAEs of several weights, of which those of equal ELBO are put side by side."""

    data: Source = "mnist-small"
    """Name of an image data set, or one's own: a folder of grey pictures, or an .npy or .npz of them."""
    betas: tuple[float, ...] = (1.0, 2.0, 3.0, 4.0, 6.0)
    """Weights of the total correlation (beta-TCVAE) or of the whole KL (beta-VAE); 1 is a plain VAE."""
    n_seeds: int = 1
    """Trainings of each; all of them are one program."""
    hidden_size: int = 256
    """Width of the two hidden layers of encoder and decoder."""


SCALES = {"quick": Config(n_steps=600), "full": Config(data="mnist", n_steps=14_000, n_seeds=3)}
DEMO: Panel | None = None
