"""650 regularisers, one for each weight of a linear model of digits."""

from dataclasses import dataclass

from backthrough.recipes.configs import Panel
from backthrough.recipes.hyper.settings import Settings


@dataclass(frozen=True)
class Config(Settings):
    """A linear model of digits with a penalty for each of its 650 weights, beside the best single one."""

    per: str = "weight"


SCALES = {
    "quick": Config(n_steps=3000, engines=("implicit", "elementwise")),
    "full": Config(
        n_steps=10_000, engines=("implicit", "elementwise", "unroll"), n_seeds=3, equal_seconds=10
    ),
}
DEMO = Panel(
    Config(n_steps=1500, engines=("implicit",)),
    "Thousands of hyperparameters in one run",
    "Tunes a regulariser for each of 650 weights while training once, and checks it by a refit.",
)
