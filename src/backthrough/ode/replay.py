"""The backward pass of the discrete adjoint over the steps that were kept."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from backthrough.ode.onestep import step, step_many
from backthrough.ode.rosenbrock import Rosenbrock
from backthrough.ode.setting import Problem, Setting, forward_field
from backthrough.ode.store import Rows, capacities
from backthrough.ode.sums import NARROW_ROWS, Sums
from backthrough.ode.tape import Tape

NARROW, NARROW_CHUNK = 8, 32  # see _narrow_rows


class Pass(NamedTuple):
    """What a backward pass works on, for the lanes of one level.

    Attributes:
        problem: What was solved.
        setting: The data of these lanes.
        wanted: Which leaves have gradients.
        pushes: Cotangents that arrive at the beginnings of the steps with save times; None if there are none.
        begins: The times of those beginnings.
    """

    problem: Problem
    setting: Setting
    wanted: tuple[int, ...]
    pushes: Array | None
    begins: Array

    @property
    def sums(self) -> Sums:
        """The gradients of the leaves."""
        return Sums(self.problem, self.setting, self.wanted)

    def take(self, lanes: Array) -> "Pass":
        """The pass over some of the lanes."""
        return self._replace(
            problem=self.problem.of_tail(),
            setting=self.setting.take(lanes),
            pushes=None if self.pushes is None else jnp.take(self.pushes, lanes, axis=-1),
            begins=jnp.take(self.begins, lanes, axis=-1),
        )


def replay(problem: Problem, setting: Setting, wanted: tuple[int, ...], ct: Array, tape: Tape) -> list[Array]:
    """The cotangents of the initial state and of the wanted leaves.

    Args:
        problem: What was solved.
        setting: Its data.
        wanted: Which leaves; the gradient of one that the lanes share is summed over them.
        ct: Cotangents of the states at all times but the first, shape (times - 1, size).
        tape: What was kept.

    Returns:
        The cotangents.
    """
    sums = Sums(problem, setting, wanted)
    adjoint = ct[-1]
    gradient = sums.zeros()
    pushes = None
    if tape.points.s.shape[0]:
        late = setting.times[:-1] >= setting.span
        adjoint = adjoint + jnp.sum(jnp.where(late[:, None], ct[:-1], 0), axis=0)
        inside = tape.points.h > 0
        weights = jnp.where(inside[:, None], ct[:-1], 0)
        if problem.tableau.adaptive:
            pushes, gradient = sums.of_points(tape.points, weights)
        else:  # save times are ends of steps
            pushes = weights
    work = Pass(problem, setting, wanted, pushes, tape.points.s)
    adjoint, gradient = _levels(work, tape, adjoint, gradient, 0)
    return [adjoint, *gradient]


def _levels(
    work: Pass, tape: Tape, adjoint: Array, gradient: list[Array], level: int
) -> tuple[Array, list[Array]]:
    """Replays the deeper levels of lanes, then this one."""
    if level + 1 < len(tape.stores):
        order = tape.members[level]
        flags = work.setting.leaf_lanes
        assert flags is not None
        own = [flags[i] for i in work.wanted]
        mine = [jnp.take(g, order, axis=0) if o else g for g, o in zip(gradient, own, strict=True)]
        part, below = _levels(work.take(order), tape, jnp.take(adjoint, order, axis=-1), mine, level + 1)
        adjoint = adjoint.at[..., order].set(part)
        gradient = [g.at[order].set(b) if o else b for g, b, o in zip(gradient, below, own, strict=True)]
    return _store(work, tape, adjoint, gradient, level)


def _store(
    work: Pass, tape: Tape, adjoint: Array, gradient: list[Array], level: int
) -> tuple[Array, list[Array]]:
    """Replays the rows of a level backwards, a segment at a time where states have to be found again."""
    problem = work.problem
    store, end = tape.stores[level], tape.ends[level]
    pointer = jnp.full(adjoint.shape[1:], work.begins.shape[0] - 1)
    none = jnp.zeros_like(end)
    most = 1 if not problem.tableau.adaptive else capacities(problem, adjoint.size, adjoint.dtype.itemsize)[1]
    if most == 1:
        rows = Rows(store.s, store.h, store.y)
        adjoint, gradient, _ = _rows(work, rows, none, end, adjoint, gradient, pointer)
        return adjoint, gradient
    field = forward_field(problem, work.setting)
    most = max(most, NARROW_ROWS)
    length = jnp.maximum(store.stride, NARROW_ROWS)

    def segment(carry: tuple) -> tuple:
        index, adjoint, gradient, pointer = carry
        index = index - 1
        row = index * length
        count = jnp.minimum(length, end - row)
        s, h = (jax.lax.dynamic_slice_in_dim(x, row, most) for x in (store.s, store.h))

        def again(i: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
            y, states = carry
            y = jax.lax.cond(
                (row + i) % store.stride == 0,
                lambda: store.y[(row + i) // store.stride],
                lambda: step(field, problem.tableau, s[i - 1], y, h[i - 1]),
            )
            return y, jax.lax.dynamic_update_index_in_dim(states, y, i, 0)

        first = store.y[row // store.stride]
        states = jnp.broadcast_to(first, (most, *first.shape))
        _, states = jax.lax.fori_loop(1, count, again, (first, states))
        rows = Rows(s, h, states)
        adjoint, gradient, pointer = _rows(work, rows, none, count, adjoint, gradient, pointer)
        return index, adjoint, gradient, pointer

    carry = (-(-end // length), adjoint, gradient, pointer)
    _, adjoint, gradient, _ = jax.lax.while_loop(lambda carry: carry[0] > 0, segment, carry)
    return adjoint, gradient


def _rows(
    work: Pass, rows: Rows, first: Array, end: Array, adjoint: Array, gradient: list[Array], pointer: Array
) -> tuple[Array, list[Array], Array]:
    """Replays rows [first, end) backwards, a chunk at a time."""
    if adjoint.shape[0] <= NARROW and adjoint.ndim == 1:
        adjoint, gradient = _narrow_rows(work, rows, first, end, adjoint, gradient)
        return adjoint, gradient, pointer
    problem, sums = work.problem, work.sums
    n_stages = problem.tableau.n_stages
    chunk = 0 if isinstance(problem.tableau, Rosenbrock) else sums.rows_at_once(adjoint)

    def pull(row: Array, adjoint: Array, pointer: Array):
        s, h, y = (jax.lax.dynamic_index_in_dim(x, row, keepdims=False) for x in rows)
        if isinstance(problem.tableau, Rosenbrock):
            adjoint, *new = sums.pull_implicit(s, y, h, adjoint)
            stages = ()
        else:
            adjoint, new, stages = sums.pull_explicit(s, y, h, adjoint, with_leaves=chunk == 0)
        if work.pushes is not None:
            adjoint, pointer = _push(adjoint, pointer, s, h, work.pushes, work.begins)
        return adjoint, pointer, new, stages

    if chunk == 0:

        def at_once(carry: tuple) -> tuple:
            row, adjoint, pointer, gradient = carry
            adjoint, pointer, new, _ = pull(row - 1, adjoint, pointer)
            return row - 1, adjoint, pointer, [g + n for g, n in zip(gradient, new, strict=True)]

        carry = (end, adjoint, pointer, gradient)
        _, adjoint, pointer, gradient = jax.lax.while_loop(lambda c: c[0] > first, at_once, carry)
        return adjoint, gradient, pointer

    s_last, _, y_last = (x[jnp.maximum(end - 1, 0)] for x in rows)
    blank = (  # a short chunk is filled up with a point that exists
        jnp.broadcast_to(s_last, (chunk, n_stages, *s_last.shape)),
        jnp.broadcast_to(y_last, (chunk, n_stages, *y_last.shape)),
        jnp.zeros((chunk, n_stages, *y_last.shape), adjoint.dtype),
    )

    def one_chunk(carry: tuple) -> tuple:
        row, adjoint, pointer, gradient = carry
        count = jnp.minimum(chunk, row - first)

        def one_row(i: Array, inner: tuple) -> tuple:
            adjoint, pointer, kept = inner
            adjoint, pointer, _, new = pull(row - 1 - i, adjoint, pointer)
            kept = tuple(map(partial(jax.lax.dynamic_update_index_in_dim, index=i, axis=0), kept, new))
            return adjoint, pointer, kept

        adjoint, pointer, kept = jax.lax.fori_loop(0, count, one_row, (adjoint, pointer, blank))
        return row - count, adjoint, pointer, sums.add(gradient, *kept)

    _, adjoint, pointer, gradient = jax.lax.while_loop(
        lambda c: c[0] > first, one_chunk, (end, adjoint, pointer, gradient)
    )
    return adjoint, gradient, pointer


def _narrow_rows(
    work: Pass, rows: Rows, first: Array, end: Array, adjoint: Array, gradient: list[Array]
) -> tuple[Array, list[Array]]:
    """The same for a state of a few entries: the Jacobians of many steps at once, then their product.

    One after another, steps this small cost what it takes to start their operations.
    """
    problem, sums, pushes = work.problem, work.sums, work.pushes
    size = adjoint.shape[0]
    basis = jnp.eye(size, dtype=adjoint.dtype)

    def one_chunk(carry: tuple) -> tuple:
        row, adjoint, gradient = carry
        places = row - NARROW_CHUNK + jnp.arange(NARROW_CHUNK)
        s, h, y = (jnp.take(x, jnp.maximum(places, first), axis=0) for x in rows)
        h = jnp.where(places >= first, h, 0)

        def steps(y: Array, *leaves: Array) -> Array:
            field = forward_field(problem, sums.replaced(leaves))
            return step_many(field, problem.tableau, s, y, h)

        _, pull = jax.vjp(steps, y, *sums.leaves())
        jacobians = jnp.stack([pull(jnp.broadcast_to(e, y.shape))[0] for e in basis], axis=1)
        if pushes is None:
            added = jnp.zeros_like(y)
        else:
            added = (
                jnp.where((work.begins == s[:, None]) & (h > 0)[:, None], 1.0, 0.0).astype(y.dtype) @ pushes
            )

        def back(after: Array, data: tuple[Array, Array]) -> tuple[Array, Array]:
            jacobian, added = data
            return jnp.sum(after[:, None] * jacobian, axis=0) + added, after

        adjoint, after = jax.lax.scan(back, adjoint, (jacobians, added), reverse=True)
        gradient = [g + new for g, new in zip(gradient, pull(after)[1:], strict=True)]
        return row - NARROW_CHUNK, adjoint, gradient

    _, adjoint, gradient = jax.lax.while_loop(lambda c: c[0] > first, one_chunk, (end, adjoint, gradient))
    return adjoint, gradient


def _push(
    adjoint: Array, pointer: Array, s: Array, h: Array, pushes: Array, begins: Array
) -> tuple[Array, Array]:
    """Adds the cotangents of the save times whose step begins at `s`, which `pointer` runs down over."""

    def take(x: Array, at: Array) -> Array:
        at = jnp.maximum(at, 0)
        if at.ndim == 0:
            return x[at]
        if x.ndim == 2:
            return x[at, jnp.arange(x.shape[-1])]
        return x[at[None, :], jnp.arange(x.shape[1])[:, None], jnp.arange(x.shape[-1])]

    def held(pointer: Array) -> tuple[Array, Array]:
        begin = take(begins, pointer)
        now = (pointer >= 0) & (begin == s) & (h > 0)
        return now, now | ((pointer >= 0) & (begin > s))  # what began later was added before

    def body(carry: tuple) -> tuple:
        adjoint, pointer = carry
        now, passed = held(pointer)
        return adjoint + jnp.where(now, take(pushes, pointer), 0), pointer - passed

    return jax.lax.while_loop(lambda c: jnp.any(held(c[1])[1]), body, (adjoint, pointer))
