"""The loop of steps, for one example or for lanes that drop out as they finish."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from backthrough.ode.onestep import step
from backthrough.ode.points import Points, fill_points, no_points
from backthrough.ode.setting import Problem, Setting, forward_field
from backthrough.ode.stepping import DONE, MAX_STEPS, NOT_FINITE, RUNNING, State, start, try_step
from backthrough.ode.store import (
    Rows,
    Store,
    block_rows,
    fits_at_once,
    flat_store,
    put_block,
    store_shapes,
    write_row,
)

FEWEST_TO_COMPACT = 16


class Levels(NamedTuple):
    """How lanes were dropped.

    Attributes:
        sizes: Lanes at each level.
        members: For each level but the first, which lanes of the level before it has.
        ends: The number of rows of each level.
        stores: The rows of each level, if they were kept.
    """

    sizes: tuple[int, ...]
    members: list[Array]
    ends: list[Array]
    stores: list[Store]


def level_sizes(n_lanes: int) -> tuple[int, ...]:
    """The numbers of lanes that loops are compiled for."""
    if n_lanes < FEWEST_TO_COMPACT:
        return (n_lanes,)
    return (n_lanes, n_lanes // 4, n_lanes // 16)


def integrate(
    problem: Problem, setting: Setting, y0: Array, *, keep: bool
) -> tuple[State, Points | None, Levels]:
    """Solves to the last time.

    Args:
        problem: Field and method.
        setting: Data.
        y0: Initial state.
        keep: Whether to keep the rows.

    Returns:
        The state at the end, the interior points (None if there are none), and the levels.
    """
    if not problem.tableau.adaptive:
        return integrate_fixed(problem, setting, y0, keep=keep)
    state = start(problem, setting, y0)
    lanes = y0.shape[1:]
    points = no_points(setting, y0)
    sizes = level_sizes(lanes[0]) if lanes and problem.compact else (*lanes, 1)[:1]
    tried = jnp.asarray(0, jnp.int32)
    members, ends, stores, above = [], [], [], []
    for level, size in enumerate(sizes):
        if level:
            order = jnp.argsort(state.status != RUNNING, stable=True)[:size].astype(jnp.int32)
            members.append(order)
            above.append((state, points))
            problem = problem.of_tail()
            state, setting = state.take(order), setting.take(order)
            points = points and Points(*(jnp.take(x, order, axis=-1) for x in points))
        enough = sizes[level + 1] if level + 1 < len(sizes) else 0
        state, points, store, row, tried = run_level(problem, setting, state, points, tried, enough, keep)
        ends.append(row)
        if store is not None:
            stores.append(store)
    state = state._replace(status=jnp.where(state.status == RUNNING, MAX_STEPS, state.status))
    for order, (upper, upper_points) in zip(reversed(members), reversed(above), strict=True):
        state = upper.put(order, state)
        points = points and Points(
            *(x.at[..., order].set(new) for x, new in zip(upper_points, points, strict=True))
        )
    return state, points, Levels(sizes, members, ends, stores)


def integrate_fixed(
    problem: Problem, setting: Setting, y0: Array, *, keep: bool
) -> tuple[State, Points | None, Levels]:
    """The same with steps of one size between neighbouring times."""
    field = forward_field(problem, setting)
    n, times = problem.n_steps, setting.times
    lanes = y0.shape[1:]
    begins = jnp.concatenate([jnp.zeros_like(times[:1]), times[:-1]])
    sizes = (times - begins) / n

    def one_interval(y: Array, data: tuple[Array, Array]) -> tuple[Array, tuple]:
        begin, h = data

        def one_step(y: Array, index: Array) -> tuple[Array, Array | None]:
            after = step(field, problem.tableau, begin + h * index.astype(h.dtype), y, h)
            return after, y if keep else None

        y, before = jax.lax.scan(one_step, y, jnp.arange(n))
        return y, (y, before)

    _, (ys, before) = jax.lax.scan(one_interval, y0, (begins, sizes))
    points, stores = None, []
    if keep:
        s = begins[:, None] + sizes[:, None] * jnp.arange(n, dtype=sizes.dtype).reshape(n, *(1,) * len(lanes))
        stores = [flat_store(s, jnp.broadcast_to(sizes[:, None], s.shape), before)]
    if times.shape[0] > 1:
        points = Points(ys[:-1], begins[1:], sizes[1:], ys[:-1])
    good = jnp.all(jnp.isfinite(ys[-1]), axis=0)
    total = jnp.asarray(n * times.shape[0], jnp.int32)
    none = jnp.zeros(lanes, jnp.int32)
    state = State(
        times[-1], ys[-1], y0, sizes[-1], none, jnp.where(good, DONE, NOT_FINITE), none + total, none
    )
    return state, points, Levels((*lanes, 1)[:1], [], [total], stores)


def run_level(
    problem: Problem,
    setting: Setting,
    state: State,
    points: Points | None,
    tried: Array,
    enough: int,
    keep: bool,
) -> tuple[State, Points | None, Store | None, Array, Array]:
    """Steps until at most `enough` lanes are left, or `max_steps` were tried, a block of rows at a time."""

    def going(state: State, tried: Array) -> Array:
        return (jnp.sum(state.status == RUNNING) > enough) & (tried < problem.max_steps)

    if not keep and points is None:  # nothing to remember

        def simply(carry: tuple) -> tuple:
            state, tried = carry
            return try_step(problem, setting, state)[0], tried + 1

        state, tried = jax.lax.while_loop(lambda carry: going(*carry), simply, (state, tried))
        return state, None, None, tried, tried

    width, itemsize = state.y.size, state.y.dtype.itemsize
    if fits_at_once(problem, width, itemsize):
        before = state.s
        state, rows, row, tried = _fill(problem, setting, state, tried, going, problem.max_steps)
        if points is not None:
            points = fill_points(problem, setting, rows, points, row, before, state.s, all_rows=True)
        return state, points, Store(*rows, jnp.asarray(1, jnp.int32)) if keep else None, row, tried
    n = block_rows(problem, width, itemsize)
    store = None
    if keep:
        shapes = store_shapes(problem, state.y.shape[0], (*state.s.shape, None)[0], itemsize)
        s, h, y = (jnp.zeros(shape, state.y.dtype) for shape in shapes)
        store = Store(s, h, y, jnp.asarray(1, jnp.int32))

    def block(carry: tuple) -> tuple:
        state, store, points, row, tried = carry
        before = state.s
        state, rows, count, tried = _fill(problem, setting, state, tried, going, n)
        if points is not None:
            points = fill_points(problem, setting, rows, points, count, before, state.s)
        if store is not None:
            store = put_block(store, rows, row)
        return state, store, points, row + count, tried

    carry = (state, store, points, jnp.asarray(0, jnp.int32), tried)
    state, store, points, row, tried = jax.lax.while_loop(lambda c: going(c[0], c[4]), block, carry)
    return state, points, store, row, tried


def _fill(
    problem: Problem, setting: Setting, state: State, tried: Array, going: Callable, n: int
) -> tuple[State, Rows, Array, Array]:
    """Steps until there are `n` rows.

    The loop is kept plain, without loops inside: with a few entries XLA then compiles it to one kernel.
    """
    single, lanes = state.s.ndim == 0, state.s.shape
    rows = Rows(
        jnp.zeros((n, *lanes), state.y.dtype),
        jnp.zeros((n, *lanes), state.y.dtype),
        jnp.zeros((n, *state.y.shape), state.y.dtype),
    )

    def one(carry: tuple) -> tuple:
        state, rows, count, tried = carry
        new, h, made = try_step(problem, setting, state)
        rows = write_row(rows, Rows(state.s, h, state.y), count)
        if single:  # counted below
            new = new._replace(accepted=state.accepted, rejected=state.rejected)
        return new, rows, count + (made if single else 1), tried + 1

    carry = (state, rows, jnp.zeros_like(tried), tried)
    loop = jax.lax.while_loop(lambda carry: going(carry[0], carry[3]) & (carry[2] < n), one, carry)
    state, rows, count, after = loop
    if single:
        rejected = state.rejected + after - tried - count
        state = state._replace(accepted=state.accepted + count, rejected=rejected)
    return state, rows, count, after
