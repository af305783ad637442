"""True posteriors over two latents, on a grid."""

from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from backthrough.latent import LatentModel

POINTS_AT_ONCE = 500


class Grid(NamedTuple):
    """Points in the plane in rows from below, those of a row from the left.

    Attributes:
        axes: Left to right and bottom to top, shape (2, side).
    """

    axes: Float[np.ndarray, "2 side"]

    @property
    def side(self) -> int:
        """Points a side."""
        return self.axes.shape[1]

    @property
    def points(self) -> Float[np.ndarray, "point 2"]:
        """All of them, shape (side * side, 2)."""
        return np.stack(np.meshgrid(*self.axes), axis=-1).reshape(-1, 2)

    @property
    def log_cell(self) -> float:
        """The logarithm of the area that a point stands for."""
        return float(np.log(np.diff(self.axes[:, :2])).sum())

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top, as matplotlib takes them."""
        left, bottom = self.axes[:, 0].tolist()
        right, top = self.axes[:, -1].tolist()
        return left, right, bottom, top


def grid_between(low: Float[np.ndarray, "2"], high: Float[np.ndarray, "2"], side: int) -> Grid:
    """Equally spaced points from the corner `low` to the corner `high`."""
    return Grid(np.linspace(low, high, side, axis=1).astype(np.float32))


def square_grid(reach: float, side: int) -> Grid:
    """Equally spaced points on [-reach, reach] squared."""
    return grid_between(np.full(2, -reach), np.full(2, reach), side)


@eqx.filter_jit
def log_joint(
    model: LatentModel, x: Float[Array, "example *data"], points: Float[Array, "point 2"]
) -> Float[Array, "example point"]:
    """log p(x, z) of every example at every point; a point is decoded once for all examples."""

    def at(z: Array) -> Array:
        return jax.vmap(lambda x: model.log_likelihood(x, z))(x) + model.log_prior(z)

    return jax.lax.map(at, points, batch_size=POINTS_AT_ONCE).T


def log_evidence(
    values: Float[np.ndarray, "example point"], grid: Grid, *, every: int = 1
) -> Float[np.ndarray, "example"]:
    """log p(x) by the trapezoidal rule, whose error falls faster than any power of the spacing.

    That holds for smooth functions that vanish at the edge, such as p(x, z).

    Args:
        values: log p(x, z) on the grid.
        grid: Where.
        every: Uses only every second, third, ... point of a side.
    """

    def of_one(row: Float[np.ndarray, "point"]) -> float:
        square = row.astype(np.float64).reshape(grid.side, grid.side)
        return float(np.logaddexp.reduce(square[::every, ::every], axis=None))

    return np.array([of_one(row) for row in values]) + grid.log_cell + 2 * np.log(every)


def divergence(log_q: Float[np.ndarray, "point"], log_p: Float[np.ndarray, "point"], grid: Grid) -> float:
    """KL(q || p) by the same rule."""
    log_q = log_q.astype(np.float64)
    return float(np.exp(log_q) @ (log_q - log_p) * np.exp(grid.log_cell))


def densities(values: Float[np.ndarray, "point"]) -> Float[np.ndarray, "side side"]:
    """A picture of log-densities at the points of a grid, the largest 1."""
    side = round(np.sqrt(len(values)))
    return np.exp(values - values.max()).reshape(side, side)


def covering_grid(
    values: Float[np.ndarray, "point"],
    grid: Grid,
    mean: Float[np.ndarray, "2"],
    scale: Float[np.ndarray, "2"],
    side: int,
) -> Grid:
    """A square about all of a posterior but a thousandth, and three deviations of q.

    Args:
        values: log p(x, z) on `grid`.
        grid: A grid that covers the posterior.
        mean: Of q.
        scale: Standard deviations of q.
        side: Points a side of the new grid.
    """
    mass = np.exp(values - values.max())
    order = np.argsort(-mass)
    inside = order[: np.searchsorted(np.cumsum(mass[order]), 0.999 * mass.sum()) + 1]
    corners = np.concatenate([grid.points[inside], [mean - 3 * scale, mean + 3 * scale]])
    low, high = corners.min(0), corners.max(0)
    middle, reach = (low + high) / 2, 0.55 * (high - low).max()
    return grid_between(middle - reach, middle + reach, side)
