"""Beta-TCVAE and beta-VAE on sprites whose factors are known (Chen et al. 2018, sections 5 and 6)."""

from dataclasses import dataclass
from typing import Literal

from backthrough.recipes.configs import Panel
from backthrough.recipes.latent.tcvae_setting import Setting


@dataclass(frozen=True)
class Config(Setting):
    """Hearts of dSprites, of several scales, orientations and places, and VAEs that are to find these."""

    size: int = 16
    """Pixels along an edge, a divisor of 64; the likelihood is that of 64 x 64 pixels."""
    every: int = 4
    """Every how many of the 32 x 32 places and of the 40 orientations are there: 2 keeps 30,720 pictures."""
    correlated: Literal["no", "scale-place"] = "no"
    """Whether scale and place (x) depend on each other: the likeliest pair is then there 4 times as often."""


SCALES = {
    "quick": Config(),
    "full": Config(betas=(1.0, 4.0, 6.0, 8.0, 12.0), n_seeds=5, n_steps=14_000, every=2),
}
DEMO = Panel(
    Config(betas=(6.0,), methods=("beta-tcvae",), n_seeds=1, n_steps=1200, every=8),
    method="Beta-TCVAE",
    what="Asks coordinates of a code to be independent, and finds what a picture was made from: its scale "
    "and its place, each in a coordinate of its own.",
)
