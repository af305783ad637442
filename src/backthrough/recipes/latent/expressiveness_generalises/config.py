"""What a flow does for the amortization gap at no more parameters (Cremer, Li and Duvenaud 2018)."""

from dataclasses import dataclass

from backthrough.recipes.latent.gap_setting import Setting


@dataclass(frozen=True)
class Config(Setting):
    """One decoder; a factorised encoder and a flow encoder of no more parameters, trained anew for it."""


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
