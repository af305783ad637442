"""The two inference gaps of VAEs, and what the encoder's size does to them (Cremer, Li and Duvenaud 2018)."""

from dataclasses import dataclass
from typing import Literal

from backthrough.recipes.configs import Panel
from backthrough.recipes.latent.gap_setting import Setting, at_full_scale


@dataclass(frozen=True)
class Config(Setting):
    """Gaps of a factorised and of a flow posterior; then encoders of several sizes for one decoder."""

    families: tuple[Literal["factorised", "flow"], ...] = ("factorised", "flow")
    """Families of posteriors that a VAE is trained with; the first one is always "factorised"."""
    encoder_widths: tuple[int, ...] = (0, 200, 500)
    """Widths of the two hidden layers of the encoders that are trained anew; 0 is one linear layer."""


SCALES = {"quick": Config(), "full": at_full_scale(Config())}
DEMO = Panel(
    Config(
        families=("factorised",),
        latent_size=20,
        epochs=4,
        n_images=16,
        n_samples=200,
        n_optimisation_steps=100,
        encoder_widths=(),
    ),
    method="Inference suboptimality",
    what="Tells whether a model's approximate inference falls short because its family of distributions is "
    "too simple, or because the network that predicts them has not learned to.",
)
