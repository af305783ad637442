"""The states at the save times that lie within steps."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from backthrough.ode.onestep import interpolate_many
from backthrough.ode.setting import Problem, Setting, forward_field
from backthrough.ode.store import BLOCK_ENTRIES, Rows


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


def pad_points(points: Points | None, setting: Setting, width: int) -> tuple[Points | None, Array, int]:
    """Points and interior times with room for one window more, and the length of a window."""
    times = setting.times[:-1]
    if points is None:
        return None, times, 0
    window = min(max(16, BLOCK_ENTRIES // width), times.shape[0])
    return Points(*(_pad(x, window) for x in points)), _pad(times, window), window


def _pad(x: Array, n: int) -> Array:
    return jnp.concatenate([x, jnp.zeros((n, *x.shape[1:]), x.dtype)])


def fill_points(
    problem: Problem,
    setting: Setting,
    times: Array,
    rows: Rows,
    points: Points,
    count: Array,
    before: Array,
    after: Array,
    window: int,
) -> Points:
    """The interior points that lie in a block of rows, a window of them at a time."""
    inside = setting.times[:-1]
    first = jnp.min(jnp.sum(inside < before, axis=0))
    end = jnp.max(jnp.sum(inside < after, axis=0))
    take = _take_rows if after.ndim else partial(jnp.take, axis=0)
    read = partial(jax.lax.dynamic_slice_in_dim, slice_size=window)

    def body(carry: tuple) -> tuple:
        at, points = carry
        time, old = read(times, at), Points(*(read(x, at) for x in points))
        here = (time >= before) & (time < after) & (at + _column(window, time) < inside.shape[0])
        row = _last_before(rows.s, time, jnp.zeros_like(count), count)
        base = [
            jnp.where(here if x.ndim == here.ndim else here[:, None], take(r, row), x)
            for r, x in zip(rows, (old.s, old.h, old.y), strict=True)
        ]
        y_save = evaluate(problem, setting, time, Points(old.y_save, *base))
        new = Points(jnp.where(here[:, None], y_save, old.y_save), *base)
        write = partial(jax.lax.dynamic_update_slice_in_dim, start_index=at, axis=0)
        return at + window, Points(*map(write, points, new))

    return jax.lax.while_loop(lambda carry: carry[0] < end, body, (first, points))[1]


def _column(n: int, like: Array) -> Array:
    return jnp.arange(n).reshape(n, *(1,) * (like.ndim - 1))


def evaluate(problem: Problem, setting: Setting, times: Array, points: Points) -> Array:
    """The states at some save times, from those at the beginnings of their steps."""
    field = forward_field(problem, setting)

    theta = (times - points.s) / jnp.where(points.h > 0, points.h, 1.0)
    return interpolate_many(field, problem.tableau, points.s, points.y, points.h, theta)


def _take_rows(rows: Array, at: Array) -> Array:
    """rows[at[p, lane], ..., lane] for every p and lane."""
    lane = jnp.arange(rows.shape[-1])
    if rows.ndim == 2:
        return rows[at, lane]
    return rows[at[:, None, :], jnp.arange(rows.shape[1])[:, None], lane]


def _last_before(starts: Array, times: Array, first: Array, end: Array) -> Array:
    """For each time the last of the rows [first, end) that begins at or before it, by bisection."""
    n = starts.shape[0]

    def halve(_: Array, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        middle = (low + high) // 2
        at = jnp.minimum(middle, n - 1)
        begins = starts[at] if starts.ndim == 1 else starts[at, jnp.arange(starts.shape[1])]
        right = (begins <= times) & (low < high)
        return jnp.where(right, middle + 1, low), jnp.where(right, high, middle)

    bounds = (jnp.broadcast_to(first, times.shape), jnp.broadcast_to(end, times.shape))
    low, _ = jax.lax.fori_loop(0, n.bit_length(), halve, bounds)
    return jnp.maximum(low - 1, first)
