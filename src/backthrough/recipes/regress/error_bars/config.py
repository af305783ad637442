"""Error bars where there are no data, and how often intervals hold what they promise."""

from dataclasses import dataclass

from backthrough.recipes.configs import Panel

METHODS = ("noisy-kfac", "noisy-adam", "mc-dropout", "deep-ensemble", "map", "bayes-by-backprop")


@dataclass(frozen=True)
class Config:
    """A cube with noise in one dimension, by several methods; then the intervals of a regression table."""

    methods: tuple[str, ...] = ("noisy-kfac", "noisy-adam", "mc-dropout")
    """Whose bands are drawn; the first is that of the table too."""
    data: str = "energy"
    """Name of a regression table whose first split is used, or "" for none."""
    n_points: int = 100
    """Points of the cube."""
    curve_epochs: int = 500
    """Passes over them."""
    curve_learning_rate: float = 3e-2
    """Of every method on them; so few points bear a large one."""
    table_epochs: int = 150
    """Passes over the table's training rows."""
    seed: int = 0
    """Determines points, weights, order and draws."""


SCALES = {
    "quick": Config(),
    "full": Config(methods=METHODS, curve_epochs=2000, table_epochs=400),
}
DEMO = Panel(
    Config(methods=("noisy-kfac", "mc-dropout"), curve_epochs=300, table_epochs=100),
    method="Noisy natural gradient",
    what="Learns a distribution over a network's weights in place of weights, at the price of an optimiser: "
    "so every prediction says how sure it is, and why not surer.",
)
