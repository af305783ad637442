"""Steps that were made, and the store that keeps some of their states in a fixed amount of memory."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from backthrough.core import ArgumentError
from backthrough.ode.setting import Problem

BLOCK_ENTRIES, BLOCK_ROWS = 2**16, 256  # the most entries and rows of a block
FEWEST_ROWS = 16  # of a block
DEFAULT_MEMORY = 2**23


class Rows(NamedTuple):
    """Steps that were made. A row is a step of one example, or one of every lane, some of size zero.

    Attributes:
        s: Times at their beginnings, shape (rows,).
        h: Step sizes; zero for a step that was rejected or of a lane that had finished.
        y: States at their beginnings, shape (rows, size).
    """

    s: Array
    h: Array
    y: Array


class Store(NamedTuple):
    """The steps of one level of lanes, with only some of their states when there is no room for all.

    Attributes:
        s: Times at the beginnings of all steps.
        h: All step sizes.
        y: The states of rows 0, stride, 2 stride, ..., shape (capacity, size).
        stride: A power of two.
    """

    s: Array
    h: Array
    y: Array
    stride: Array


def capacities(problem: Problem, width: int, itemsize: int) -> tuple[int, int]:
    """How many states are stored, and the largest stride between them; both powers of two.

    Args:
        problem: Its `max_steps` and `memory`.
        width: Entries of a state, with all lanes.
        itemsize: Bytes of an entry.

    Raises:
        ArgumentError: if the memory is too little for any choice.
    """
    most = 1 << (problem.max_steps - 1).bit_length()
    memory, given = problem.memory, problem.memory is not None
    if memory is None:
        root = 1 << (most.bit_length() // 2)
        memory = max(DEFAULT_MEMORY, 5 * root * width * itemsize)
    choices = [(1 << k, most >> k) for k in range(most.bit_length())]
    rooms = [
        3 * count + stride for count, stride in choices
    ]  # a block and room to write it, as large at most
    fitting = [c for c, room in zip(choices, rooms, strict=True) if room * width * itemsize <= memory]
    if not fitting:
        assert given
        least = min(rooms) * width * itemsize
        raise ArgumentError(
            f"Discrete(memory={memory:.3g}) is too little: {problem.max_steps} steps of {width:,} entries "
            f"need {least:,} bytes; raise memory or lower max_steps"
        )
    return fitting[-1]


def fits_at_once(problem: Problem, width: int, itemsize: int) -> bool:
    """Whether all rows are few enough to be written in one loop, without blocks."""
    _, stride = capacities(problem, width, itemsize)
    return stride == 1 and problem.max_steps * width <= BLOCK_ENTRIES


def block_rows(problem: Problem, width: int, itemsize: int) -> int:
    """The rows of a block, a power of two."""
    capacity, _ = capacities(problem, width, itemsize)
    return min(BLOCK_ROWS, max(FEWEST_ROWS, 1 << (BLOCK_ENTRIES // width).bit_length()), capacity)


def store_shapes(problem: Problem, size: int, n_lanes: int | None, itemsize: int) -> list[tuple[int, ...]]:
    """The shapes of the s, h and y of a store; with blocks, there is room for one block more."""
    lanes = () if n_lanes is None else (n_lanes,)
    width = size * (n_lanes or 1)
    if fits_at_once(problem, width, itemsize):
        return [(problem.max_steps, *lanes), (problem.max_steps, *lanes), (problem.max_steps, size, *lanes)]
    block = block_rows(problem, width, itemsize)
    capacity, stride = capacities(problem, width, itemsize)
    scalars = (capacity * stride + block, *lanes)
    return [scalars, scalars, (capacity + block, size, *lanes)]


def put_block(store: Store, rows: Rows, row: Array) -> Store:
    """Stores a block of rows; when the states fill up, every other one is dropped."""
    block = rows.s.shape[0]
    capacity = store.y.shape[0] - block
    write = partial(jax.lax.dynamic_update_slice_in_dim, axis=0)
    y, stride = store.y, store.stride
    if capacity < store.s.shape[0] - block:

        def thin(carry: tuple[Array, Array]) -> tuple[Array, Array]:
            y, stride = carry
            half = y[:capacity:2]
            return write(y, half, start_index=0), 2 * stride

        y, stride = jax.lax.while_loop(lambda carry: row + block > capacity * carry[1], thin, (y, stride))
    # of a block that begins at a multiple of the stride, rows 0, stride, ...; nothing of any other
    wanted = jnp.minimum(jnp.arange(block) * stride, block - 1)
    slot = jnp.where(row % stride == 0, row // stride, capacity)
    return Store(
        write(store.s, rows.s, start_index=row),
        write(store.h, rows.h, start_index=row),
        write(y, jnp.take(rows.y, wanted, axis=0), start_index=slot),
        stride,
    )


def flat_store(s: Array, h: Array, y: Array) -> Store:
    """The store of all rows, from arrays with two leading axes."""
    s, h, y = (x.reshape(-1, *x.shape[2:]) for x in (s, h, y))
    return Store(s, h, y, jnp.asarray(1, jnp.int32))


def write_row(rows: Rows, values: Rows, at: Array) -> Rows:
    """`rows` with one of them replaced."""
    return Rows(*map(partial(jax.lax.dynamic_update_index_in_dim, index=at, axis=0), rows, values))
