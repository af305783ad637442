"""A continuous flow fitted by maximum likelihood to points in the plane (Chen et al. 2018, sec. 4)."""

from dataclasses import dataclass
from typing import Literal

from backthrough.recipes.configs import Panel


@dataclass(frozen=True)
class Config:
    """A continuous flow trained on fresh points each step."""

    data: str = "8gaussians"
    """8gaussians, moons, circles, pinwheel or checkerboard."""
    field: Literal["gated", "planar"] = "gated"
    """A network gated by the time, or a continuous planar flow."""
    hidden_size: int = 64
    """Width of the three hidden layers, or number of planar units."""
    n_steps: int = 300
    """Steps of Adam."""
    batch_size: int = 256
    """Fresh points a step."""
    learning_rate: float = 5e-3
    """The largest; it falls along half a cosine."""
    solver_steps: int = 5
    """Runge-Kutta steps of the solve in training; bounds are measured by an adaptive one."""
    tolerance: float = 1e-5
    """Of the adaptive solver that measures."""
    n_test: int = 2000
    """Points on which the likelihood is measured."""
    seed: int = 0
    """Determines weights and points."""


SCALES = {
    "quick": Config(),
    "full": Config(n_steps=2000, n_test=20_000),
}
DEMO = Panel(
    Config(n_steps=150, n_test=500),
    method="Continuous normalising flow",
    what="Learns a density by letting points flow along a trained vector field: one solve draws a point, "
    "one backwards measures any point.",
)
