"""What the experiments with beta-TCVAE and beta-VAE have in common to be asked for (Chen et al. 2018)."""

from dataclasses import dataclass
from typing import Literal

from backthrough.core import ArgumentError, check_choice, check_integer, check_positive

METHODS = ("beta-tcvae", "beta-vae")


@dataclass(frozen=True)
class Setting:
    """VAEs with two hidden layers, and what presses on their codes."""

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
    hidden_size: int = 128
    """Width of the two hidden layers of encoder and decoder."""
    latent_size: int = 10
    """Latents."""


def check_setting(config: Setting) -> None:
    """Refuses what cannot be trained."""
    for name in ("n_seeds", "n_steps", "hidden_size"):
        check_integer(name, getattr(config, name), minimum=1)
    check_integer("batch_size", config.batch_size, minimum=2)
    check_integer("latent_size", config.latent_size, minimum=2)
    check_integer("first_seed", config.first_seed, minimum=0)
    check_positive("learning_rate", config.learning_rate)
    if not config.betas or not config.methods or len(set(config.methods)) < len(config.methods):
        raise ArgumentError("betas and methods must not be empty, and no method named twice")
    for method in config.methods:
        check_choice("method", method, METHODS)
    for beta in config.betas:
        check_positive("betas", beta)
    if len(set(config.betas)) < len(config.betas):
        raise ArgumentError(f"betas must differ from each other, got {config.betas}")
