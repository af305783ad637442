"""The posterior that the importance-weighted bound trains (Cremer et al. 2017, arXiv 1704.02916)."""

from dataclasses import dataclass

from backthrough.recipes.configs import Panel, Source


@dataclass(frozen=True)
class Config:
    """A VAE trained with the importance-weighted bound, with two latents: true posteriors can be computed."""

    vae: bool = True
    """Whether a VAE is trained on digits, too; otherwise only posteriors in the plane are shown."""
    data: Source = "mnist-small"
    """Name of an image data set, an image folder, or an .npy/.npz file of images."""
    k: int = 50
    """Draws in the bound that is maximised, and in the q_EW that is measured; 1 is the ELBO."""
    hidden_size: int = 200
    """Width of the two hidden layers of encoder and decoder."""
    n_steps: int = 900
    """Steps of Adam; grey levels become 0 or 1 anew in each."""
    batch_size: int = 20
    """Images in a batch."""
    learning_rate: float = 3e-3
    """The largest; it falls along half a cosine."""
    n_test: int = 100
    """Test images, shuffled, on which everything is measured."""
    n_draws: int = 5
    """Draws from q_EW an image for its ELBO."""
    n_sets: int = 10
    """Sets of companions from which the density of each of them is estimated."""
    grid_size: int = 301
    """Points a side of the grid on [-6, 6] squared on which the true posteriors are computed."""
    seed: int = 0
    """Determines weights, order, noise and binarisation in training."""


SCALES = {
    "quick": Config(),
    "full": Config(
        data="mnist", n_steps=100_000, learning_rate=1e-3, n_test=500, n_draws=20, n_sets=50, grid_size=401
    ),
}
DEMO = Panel(
    Config(vae=False),
    method="Importance-weighted posterior",
    what="Draws several latents and keeps one by its weight: that is the posterior which the "
    "importance-weighted bound trains, and it takes shapes that the encoder's Gaussian cannot.",
)
