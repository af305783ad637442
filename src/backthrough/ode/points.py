"""The states at the save times that lie within steps."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from backthrough.ode.onestep import interpolate_many
from backthrough.ode.setting import Problem, Setting, forward_field
from backthrough.ode.store import BLOCK_ENTRIES, Rows

FEWEST_POINTS = 16  # of a window


class Points(NamedTuple):
    """The steps that hold the interior save times.

    Attributes:
        y_save: The states there, shape (points, size).
        s: Times at the beginnings of the steps.
        h: Their sizes.
        y: States at their beginnings.
    """

    y_save: Array
    s: Array
    h: Array
    y: Array


def no_points(setting: Setting, y0: Array) -> Points | None:
    """The interior points before any of them is known; None if there are none."""
    n_points = setting.times.shape[0] - 1
    if not n_points:
        return None
    shape = (n_points, *y0.shape[1:])
    nothing = jnp.full((n_points, *y0.shape), jnp.nan, y0.dtype)
    base = jnp.broadcast_to(y0, nothing.shape)
    return Points(nothing, jnp.zeros(shape, y0.dtype), jnp.zeros(shape, y0.dtype), base)


def fill_points(
    problem: Problem,
    setting: Setting,
    rows: Rows,
    points: Points,
    count: Array,
    before: Array,
    after: Array,
    *,
    all_rows: bool = False,
) -> Points:
    """The interior points that lie in a block of rows, a window of them at a time.

    Args:
        problem: Field and method.
        setting: Data.
        rows: The block.
        points: What is known.
        count: The number of rows in the block.
        before: Time at the beginning of the block.
        after: Time at its end.
        all_rows: Whether there is no other block.

    Returns:
        The points, with those in the block filled in.
    """
    times = setting.times[:-1]
    n, width = times.shape[0], rows.y[0].size
    window = min(max(FEWEST_POINTS, BLOCK_ENTRIES // width), n)
    place = _last_before if after.ndim else _last_before_by_merging
    take = _take_rows if after.ndim else partial(jnp.take, axis=0)

    def fill(time: Array, old: Points) -> Points:
        here = (time >= before) & (time < after)
        row = place(rows.s, time, count)
        base = [
            jnp.where(here if x.ndim == here.ndim else here[:, None], take(r, row), x)
            for r, x in zip(rows, (old.s, old.h, old.y), strict=True)
        ]
        y_save = evaluate(problem, setting, time, Points(old.y_save, *base))
        return Points(jnp.where(here[:, None], y_save, old.y_save), *base)

    if all_rows and window == n:
        return fill(times, points)
    read = partial(jax.lax.dynamic_slice_in_dim, slice_size=window)

    def body(carry: tuple) -> tuple:
        at, points = carry
        at = jnp.minimum(at, n - window)
        new = fill(read(times, at), Points(*(read(x, at) for x in points)))
        write = partial(jax.lax.dynamic_update_slice_in_dim, start_index=at, axis=0)
        return at + window, Points(*map(write, points, new))

    first = jnp.min(jnp.sum(times < before, axis=0))
    end = jnp.max(jnp.sum(times < after, axis=0))
    return jax.lax.while_loop(lambda carry: carry[0] < end, body, (first, points))[1]


def evaluate(
    problem: Problem, setting: Setting, times: Array, points: Points, *, loop: bool = False
) -> Array:
    """The states at some save times, from those at the beginnings of their steps.

    `loop` is for derivatives, see `rungekutta.interpolate_many`.
    """
    field = forward_field(problem, setting)
    theta = (times - points.s) / jnp.where(points.h > 0, points.h, 1.0)
    return interpolate_many(field, problem.tableau, points.s, points.y, points.h, theta, loop=loop)


def _take_rows(rows: Array, at: Array) -> Array:
    """rows[at[p, lane], ..., lane] for every p and lane."""
    lane = jnp.arange(rows.shape[-1])
    if rows.ndim == 2:
        return rows[at, lane]
    return rows[at[:, None, :], jnp.arange(rows.shape[1])[:, None], lane]


def _last_before(starts: Array, times: Array, end: Array) -> Array:
    """For each time and lane the last of the first `end` rows that begins at or before it, by bisection."""
    n = starts.shape[0]
    lane = jnp.arange(starts.shape[1])

    def halve(_: Array, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        middle = (low + high) // 2
        right = (starts[jnp.minimum(middle, n - 1), lane] <= times) & (low < high)
        return jnp.where(right, middle + 1, low), jnp.where(right, high, middle)

    bounds = (jnp.zeros(times.shape, end.dtype), jnp.broadcast_to(end, times.shape))
    low, _ = jax.lax.fori_loop(0, n.bit_length(), halve, bounds)
    return jnp.maximum(low - 1, 0)


def _last_before_by_merging(starts: Array, times: Array, end: Array) -> Array:
    """The same for one example, whose times rise: XLA compiles this loop to one kernel."""

    def one(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        at, row, found = carry
        passed = (row + 1 < end) & (starts[jnp.minimum(row + 1, starts.shape[0] - 1)] <= times[at])
        found = jax.lax.dynamic_update_index_in_dim(found, row, at, 0)
        return at + ~passed, row + passed, found

    none = jnp.zeros_like(end)
    carry = (none, none, jnp.zeros(times.shape, end.dtype))
    return jax.lax.while_loop(lambda carry: carry[0] < times.shape[0], one, carry)[2]
