"""Beta-TCVAE and beta-VAE on sprites whose factors are known (Chen et al. 2018, sections 5 and 6)."""

from dataclasses import dataclass
from typing import Literal

from backthrough.recipes.configs import Panel


@dataclass(frozen=True)
class Config:
    """Hearts of dSprites, of several scales, orientations and places, and VAEs that are to find these."""

    betas: tuple[float, ...] = (1.0, 6.0)
    """Weights of the total correlation (beta-TCVAE) or of the whole KL (beta-VAE); 1 is a plain VAE."""
    methods: tuple[Literal["beta-tcvae", "beta-vae"], ...] = ("beta-tcvae", "beta-vae")
    """What is trained with each of them."""
    n_seeds: int = 2
    """Trainings of each; all of them are one program."""
    first_seed: int = 0
    """Of the first of them; determines weights and noise."""
    n_steps: int = 1500
    """Steps of Adam."""
    batch_size: int = 256
    """Pictures in a batch, the same for all trainings."""
    learning_rate: float = 2e-3
    """Largest learning rate, after 200 steps; it falls along a cosine to 2 % of it."""
    size: int = 16
    """Pixels along an edge, a divisor of 64; the likelihood is that of 64 x 64 pixels."""
    every: int = 4
    """Every how many of the 32 x 32 places and of the 40 orientations are there: 2 keeps 30,720 pictures."""
    correlated: Literal["no", "scale-place"] = "no"
    """Whether scale and place (x) depend on each other: the likeliest pair is then there 4 times as often."""
    hidden_size: int = 128
    """Width of the two hidden layers of encoder and decoder."""
    latent_size: int = 10
    """Latents."""


SCALES = {
    "quick": Config(),
    "full": Config(betas=(1.0, 4.0, 6.0, 8.0, 12.0), n_seeds=5, n_steps=14_000, every=2),
}
DEMO: Panel | None = None
