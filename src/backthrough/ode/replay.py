"""The backward pass of the discrete adjoint over the steps that were kept."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from backthrough.ode.forward import (
    NARROW,
    Levels,
    Points,
    Rows,
    Store,
    capacities,
    evaluate,
    level_sizes,
    store_shapes,
)
from backthrough.ode.rungekutta import pull_step, step, step_many
from backthrough.ode.setting import Problem, Setting, forward_field

MOST_LEVELS = 3
N_TAPE = 4 * MOST_LEVELS + 5
FEW, WIDE, NARROW_ROWS = 4, 512, 4  # see _Sums.rows_at_once
NARROW_CHUNK = 32  # see _narrow_rows


class Tape(NamedTuple):
    """What the forward pass keeps.

    Attributes:
        stores: The rows of each level of lanes.
        points: The interior save times; of length 0 if there are none.
        ends: The number of rows of each level, shape (levels,).
        members: The lanes of each level but the first, as places in the level before.
    """

    stores: list[Store]
    points: Points
    ends: Array
    members: list[Array]


def pack_tape(points: Points | None, levels: Levels, y0: Array) -> list[Array]:
    """The tape as arrays that all end in the axis of lanes, as the primitive wants them.

    Deeper levels have fewer lanes; their arrays are laid out anew and mean nothing lane by lane.
    """
    lanes = y0.shape[1:]
    nothing = jnp.zeros((0, *lanes), y0.dtype)
    if points is None:
        points = Points(nothing, nothing, nothing, jnp.zeros((0, *y0.shape), y0.dtype))
    arrays = []
    for level in range(MOST_LEVELS):
        if level >= len(levels.stores):
            arrays += [nothing] * 3
            continue
        store = levels.stores[level]
        arrays += [_lay_out(x, lanes[0]) if level else x for x in store[:3]]
    strides = [store.stride for store in levels.stores]
    numbers = jnp.stack([*levels.ends, *strides])
    if lanes:
        numbers = jnp.broadcast_to(numbers[:, None], (*numbers.shape, *lanes))
    members = [_lay_out(order, lanes[0]) for order in levels.members]
    members += [nothing.astype(jnp.int32)] * (MOST_LEVELS - len(members))
    unused = [nothing] * (N_TAPE - len(arrays) - 4 - len(members))
    return [*arrays, *points[1:], numbers, *members, *unused]


def unpack_tape(arrays: Sequence[Array], problem: Problem, n_lanes: int | None) -> Tape:
    """The tape from its arrays."""
    stores_at = 3 * MOST_LEVELS
    points_s, points_h, points_y, numbers, *rest = arrays[stores_at:]
    if n_lanes is not None:
        # the same for all lanes, but for those that a batched `lax.cond` has left out: theirs are zero
        numbers = jnp.max(numbers, axis=-1)
    n_levels = numbers.shape[0] // 2
    ends, strides = numbers[:n_levels], numbers[n_levels:]
    sizes = (1,) if n_lanes is None else level_sizes(n_lanes)[:n_levels]
    stores, members = [], []
    for level, size in enumerate(sizes):
        parts = list(arrays[3 * level : 3 * level + 3])
        if level:
            shapes = store_shapes(problem, points_y.shape[1], size, points_y.dtype.itemsize)
            parts = [_take_back(x, shape) for x, shape in zip(parts, shapes, strict=True)]
            members.append(_take_back(rest[level - 1], (size,)))
        stores.append(Store(parts[0], parts[1], parts[2], strides[level]))
    points = Points(jnp.full_like(points_y, jnp.nan), points_s, points_h, points_y)
    return Tape(stores, points, ends, members)


def _lay_out(x: Array, n_lanes: int) -> Array:
    flat = x.reshape(-1)
    return jnp.pad(flat, (0, -flat.size % n_lanes)).reshape(-1, n_lanes)


def _take_back(x: Array, shape: tuple[int, ...]) -> Array:
    return x.reshape(-1)[: math.prod(shape)].reshape(shape)


def replay(
    problem: Problem,
    setting: Setting,
    wanted: tuple[int, ...],
    summed: tuple[bool, ...],
    ct: Array,
    tape: Tape,
) -> list[Array]:
    """The cotangents of the initial state and of the wanted leaves.

    Args:
        problem: What was solved.
        setting: Its data.
        wanted: Which leaves.
        summed: For the state and each wanted leaf, whether to sum over lanes.
        ct: Cotangents of the states at all times but the first, shape (times - 1, size).
        tape: What was kept.

    Returns:
        The cotangents.
    """
    single = ct.ndim == 2
    if not single:
        shared = [i for i, total in zip(wanted, summed[1:], strict=True) if not total]
        setting = setting.own(shared, ct.shape[-1])
    sums = _Sums(problem, setting, wanted)
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
    adjoint, gradient = _levels(problem, setting, wanted, tape, adjoint, gradient, pushes, tape.points.s, 0)
    if summed[0]:
        adjoint = jnp.sum(adjoint, axis=-1)
    return [adjoint, *gradient]


def _levels(
    problem: Problem,
    setting: Setting,
    wanted: tuple[int, ...],
    tape: Tape,
    adjoint: Array,
    gradient: list[Array],
    pushes: Array | None,
    begins: Array,
    level: int,
) -> tuple[Array, list[Array]]:
    """Replays the deeper levels of lanes, then this one."""
    if level + 1 < len(tape.stores):
        order = tape.members[level]
        flags = setting.leaf_lanes
        assert flags is not None
        own = [flags[i] for i in wanted]
        part, below = _levels(
            problem,
            setting.take(order),
            wanted,
            tape,
            jnp.take(adjoint, order, axis=-1),
            [jnp.take(g, order, axis=0) if o else g for g, o in zip(gradient, own, strict=True)],
            None if pushes is None else jnp.take(pushes, order, axis=-1),
            jnp.take(begins, order, axis=-1),
            level + 1,
        )
        adjoint = adjoint.at[..., order].set(part)
        gradient = [g.at[order].set(b) if o else b for g, b, o in zip(gradient, below, own, strict=True)]
    return _store(problem, setting, wanted, tape, adjoint, gradient, pushes, begins, level)


def _store(
    problem: Problem,
    setting: Setting,
    wanted: tuple[int, ...],
    tape: Tape,
    adjoint: Array,
    gradient: list[Array],
    pushes: Array | None,
    begins: Array,
    level: int,
) -> tuple[Array, list[Array]]:
    """Replays the rows of a level backwards, a segment at a time where states have to be found again."""
    store, end = tape.stores[level], tape.ends[level]
    pointer = jnp.full(adjoint.shape[1:], begins.shape[0] - 1)
    none = jnp.zeros_like(end)
    most = 1 if not problem.tableau.adaptive else capacities(problem, adjoint.size, adjoint.dtype.itemsize)[1]
    if most == 1:
        rows = Rows(store.s, store.h, store.y)
        adjoint, gradient, _ = _rows(
            problem, setting, wanted, rows, none, end, adjoint, gradient, pushes, begins, pointer
        )
        return adjoint, gradient
    field = forward_field(problem, setting)
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
        adjoint, gradient, pointer = _rows(
            problem, setting, wanted, rows, none, count, adjoint, gradient, pushes, begins, pointer
        )
        return index, adjoint, gradient, pointer

    carry = (-(-end // length), adjoint, gradient, pointer)
    _, adjoint, gradient, _ = jax.lax.while_loop(lambda carry: carry[0] > 0, segment, carry)
    return adjoint, gradient


def _rows(
    problem: Problem,
    setting: Setting,
    wanted: tuple[int, ...],
    rows: Rows,
    first: Array,
    end: Array,
    adjoint: Array,
    gradient: list[Array],
    pushes: Array | None,
    begins: Array,
    pointer: Array,
) -> tuple[Array, list[Array], Array]:
    """Replays rows [first, end) backwards, a chunk at a time."""
    if adjoint.shape[0] <= NARROW and adjoint.ndim == 1:
        adjoint, gradient = _narrow_rows(
            problem, setting, wanted, rows, first, end, adjoint, gradient, pushes, begins
        )
        return adjoint, gradient, pointer
    sums = _Sums(problem, setting, wanted)
    n_stages = problem.tableau.n_stages
    chunk = sums.rows_at_once(adjoint)

    def pull(row: Array, adjoint: Array, pointer: Array):
        s, h, y = (jax.lax.dynamic_index_in_dim(x, row, keepdims=False) for x in rows)
        linearise = sums.linearise_all if chunk == 0 else sums.linearise_state
        adjoint, new, *stages = pull_step(linearise, problem.tableau, s, y, h, adjoint)
        if pushes is not None:
            adjoint, pointer = _push(adjoint, pointer, s, h, pushes, begins)
        return adjoint, pointer, new, tuple(map(jnp.stack, stages))

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
    problem: Problem,
    setting: Setting,
    wanted: tuple[int, ...],
    rows: Rows,
    first: Array,
    end: Array,
    adjoint: Array,
    gradient: list[Array],
    pushes: Array | None,
    begins: Array,
) -> tuple[Array, list[Array]]:
    """The same for a state of a few entries: the Jacobians of many steps at once, then their product.

    One after another, steps this small cost what it takes to start their operations.
    """
    sums = _Sums(problem, setting, wanted)
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
            added = jnp.where((begins == s[:, None]) & (h > 0)[:, None], 1.0, 0.0).astype(y.dtype) @ pushes

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


class _Sums:
    """Gradients of the wanted leaves, formed for many stages at once."""

    def __init__(self, problem: Problem, setting: Setting, wanted: tuple[int, ...]):
        self.problem = problem
        self.setting = setting
        self.wanted = wanted

    def leaves(self) -> list[Array]:
        """The wanted leaves."""
        return [self.setting.leaves[i] for i in self.wanted]

    def zeros(self) -> list[Array]:
        """A gradient of zero."""
        return [jnp.zeros_like(leaf) for leaf in self.leaves()]

    def replaced(self, leaves: Sequence[Any]) -> Setting:
        """The setting with other values of the wanted leaves."""
        new = list(self.setting.leaves)
        for i, leaf in zip(self.wanted, leaves, strict=True):
            new[i] = leaf
        return self.setting._replace(leaves=tuple(new))

    def rows_at_once(self, adjoint: Array) -> int:
        """Steps whose gradients are formed in one product; 0 to form them at every stage.

        A product over many stages reads and writes the parameters once, but evaluates the field again: it
        pays where a state is narrow beside many parameters.
        """
        n_parameters = sum(leaf.size for leaf in self.leaves())
        return 0 if n_parameters <= FEW * adjoint.size or adjoint.size >= WIDE else NARROW_ROWS

    def linearise_state(self, s: Array, y: Array) -> tuple[Array, Callable]:
        """The field and its pull-back to the state."""
        return jax.vjp(lambda y: forward_field(self.problem, self.setting)(s, y), y)

    def linearise_all(self, s: Array, y: Array) -> tuple[Array, Callable]:
        """The field and its pull-back to the state and the wanted leaves."""

        def at(y: Array, *leaves: Array) -> Array:
            return forward_field(self.problem, self.replaced(leaves))(s, y)

        return jax.vjp(at, y, *self.leaves())

    def add(self, gradient: list[Array], times: Array, states: Array, slopes: Array) -> list[Array]:
        """`gradient` plus that of a chunk of stages with the cotangents `slopes`."""

        def at(leaves: list[Array]) -> Array:
            field = forward_field(self.problem, self.replaced(leaves))
            return jax.vmap(jax.vmap(field))(times, states)

        _, pull = jax.vjp(at, self.leaves())
        return [g + new for g, new in zip(gradient, pull(slopes)[0], strict=True)]

    def of_points(self, points: Points, weights: Array) -> tuple[Array, list[Array]]:
        """Cotangents of the states at the beginnings of the steps with save times, and of the leaves."""

        def at(y: Array, leaves: list[Array]) -> Array:
            setting = self.replaced(leaves)
            return evaluate(self.problem, setting, setting.times[:-1], points._replace(y=y))

        _, pull = jax.vjp(at, points.y, self.leaves())
        return pull(weights)
