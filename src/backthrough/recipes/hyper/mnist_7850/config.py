"""7,850 regularisers, one for each weight (Lorraine and Duvenaud 2018, figure 5)."""

from dataclasses import dataclass
from typing import Literal

from backthrough.recipes.hyper.settings import Settings


@dataclass(frozen=True)
class Config(Settings):
    """A linear model of MNIST with a penalty for each of its 7,850 weights, beside the best single one."""

    data: Literal["digits", "mnist-small", "mnist"] = "mnist-small"
    per: str = "weight"
    n_train: int = 1000


SCALES = {
    "quick": Config(n_valid=8000, n_steps=800, engines=("implicit",)),
    "full": Config(data="mnist", n_steps=4000, engines=("implicit", "elementwise"), n_seeds=3),
}
DEMO = None
