"""Checkpoints of a solve in a fixed amount of memory, and the stretches between them solved again."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from backthrough.ode.curve import Curve, curve_of
from backthrough.ode.points import Points, fill_points, no_points
from backthrough.ode.setting import Problem, Setting
from backthrough.ode.stepping import MAX_STEPS, RUNNING, State, start, try_step
from backthrough.ode.store import Rows, write_row

SPARE = 8  # rows more than a stretch had: a step of the next one, with its rejected tries


class Checkpoints(NamedTuple):
    """States before the rows 0, length stride, 2 length stride, ...

    Attributes:
        states: With a leading axis of checkpoints, the last one a place for what is not kept.
        stride: Stretches between two checkpoints, a power of two.
        n_stretches: How many stretches of rows there were.
    """

    states: State
    stride: Array
    n_stretches: Array


def record(
    problem: Problem, setting: Setting, y0: Array, n_checkpoints: int, length: int
) -> tuple[State, Points | None, Checkpoints]:
    """Solves to the last time and keeps every stride-th state before a stretch of `length` rows."""
    state = start(problem, setting, y0)
    points = no_points(setting, y0)
    places = jnp.arange(n_checkpoints + 1)
    store = State(*(jnp.broadcast_to(x, (n_checkpoints + 1, *x.shape)) for x in state))

    def going(state: State, tried: Array) -> Array:
        return jnp.any(state.status == RUNNING) & (tried < problem.max_steps)

    def stretch(carry: tuple) -> tuple:
        state, kept, points, tried = carry
        full = kept.n_stretches == n_checkpoints * kept.stride  # then every other one is dropped
        chosen = jnp.where(full, jnp.minimum(2 * places, n_checkpoints), places)
        stride = jnp.where(full, 2 * kept.stride, kept.stride)
        slot = jnp.where(kept.n_stretches % stride == 0, kept.n_stretches // stride, n_checkpoints)
        store = State(*(x[chosen].at[slot].set(new) for x, new in zip(kept.states, state, strict=True)))
        before = state.s
        state, rows, count, tried = _make_rows(
            problem, setting, state, tried, length, lambda state, tried: going(state, tried)
        )
        if points is not None:
            points = fill_points(problem, setting, rows, points, count, before, state.s)
        return state, Checkpoints(store, stride, kept.n_stretches + 1), points, tried

    none = jnp.asarray(0, jnp.int32)
    carry = (state, Checkpoints(store, none + 1, none), points, none)
    state, kept, points, _ = jax.lax.while_loop(lambda c: going(c[0], c[3]), stretch, carry)
    state = state._replace(status=jnp.where(state.status == RUNNING, MAX_STEPS, state.status))
    return state, points, kept


def _make_rows(
    problem: Problem, setting: Setting, state: State, tried: Array, length: int, going
) -> tuple[State, Rows, Array, Array]:
    """Steps until there are `length` rows; a row is a step, or with lanes a try of every lane."""
    single = state.s.ndim == 0
    lanes = state.s.shape
    rows = Rows(
        jnp.full((length, *lanes), jnp.inf, state.y.dtype),
        jnp.zeros((length, *lanes), state.y.dtype),
        jnp.broadcast_to(state.y, (length, *state.y.shape)),
    )

    def one(carry: tuple) -> tuple:
        state, rows, count, tried = carry
        new, h, made = try_step(problem, setting, state)
        rows = write_row(rows, Rows(state.s, h, state.y), count)
        return new, rows, count + (made if single else 1), tried + 1

    carry = (state, rows, jnp.zeros_like(tried), tried)
    return jax.lax.while_loop(lambda c: going(c[0], c[3]) & (c[2] < length), one, carry)


def solve_again(
    problem: Problem, setting: Setting, kept: Checkpoints, index: Array, upto: Array, length: int
) -> tuple[Array, Curve]:
    """The time at which stretch `index` begins, and the solution from there to the times `upto`."""
    at = partial(jax.lax.dynamic_index_in_dim, index=index // kept.stride, keepdims=False)
    state = State(*map(at, kept.states))
    skipped = (index % kept.stride) * length
    single = state.s.ndim == 0

    def skip(carry: tuple) -> tuple:
        state, count = carry
        new, _, made = try_step(problem, setting, state)
        return new, count + (made if single else 1)

    state, _ = jax.lax.while_loop(
        lambda c: (c[1] < skipped) & jnp.any(c[0].status == RUNNING), skip, (state, jnp.zeros_like(skipped))
    )
    none = jnp.asarray(0, jnp.int32)
    _, rows, count, _ = _make_rows(
        problem,
        setting,
        state,
        none,
        length + SPARE,
        lambda now, _: jnp.any((now.status == RUNNING) & (now.s < upto)),
    )
    return state.s, curve_of(problem, setting, rows, count)
