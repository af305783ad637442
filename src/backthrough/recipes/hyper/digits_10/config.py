"""Ten regularisers, one for each class (Lorraine and Duvenaud 2018, appendix)."""

from dataclasses import dataclass

from backthrough.recipes.hyper.settings import Settings


@dataclass(frozen=True)
class Config(Settings):
    """A linear model of digits with a penalty for the weights of each class, beside the best single one."""


SCALES = {
    "quick": Config(n_steps=3000, engines=("centred",)),
    "full": Config(n_steps=3000, engines=("centred", "linear", "implicit"), n_seeds=3, equal_seconds=10),
}
DEMO = None
