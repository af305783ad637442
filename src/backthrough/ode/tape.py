"""What the forward pass of the discrete adjoint keeps, as the arrays that a primitive can pass on."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

from backthrough.ode.forward import Levels, level_sizes
from backthrough.ode.points import Points
from backthrough.ode.setting import Problem
from backthrough.ode.store import Store, store_shapes

MOST_LEVELS = 3
N_TAPE = 4 * MOST_LEVELS + 5


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
