"""A decoder accommodates the posterior that it is trained with (Cremer, Li and Duvenaud 2018)."""

from dataclasses import dataclass

from backthrough.recipes.latent.gap_setting import Setting


@dataclass(frozen=True)
class Config(Setting):
    """A decoder trained with either family of posteriors, and the best posteriors of both on it."""


SCALES = {
    "quick": Config(),
    "full": Config(
        data="binarized-mnist",
        binarisation="static",
        epochs=3280,
        warm_up=400,
        schedule="ladder",
        learning_rate=1e-3,
        n_images=100,
        n_samples=5000,
        n_optimisation_steps=800,
    ),
}
DEMO = None
