"""The loop of adaptive steps, for one example or for lanes that drop out as they finish."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from backthrough.core import ArgumentError
from backthrough.ode.rungekutta import first_step, interpolate_many, next_step, squared_error, stages, step
from backthrough.ode.setting import Problem, Setting, forward_field
from backthrough.ode.tableaux import Tableau

RUNNING, DONE, MAX_STEPS, UNDERFLOW, NOT_FINITE = -1, 0, 1, 2, 3
FEWEST_TO_COMPACT = 16
NARROW, SUBBLOCK = 8, 16  # see _fill_narrow
BLOCK_ENTRIES, BLOCK_ROWS = 2**16, 256  # the most entries and rows of a block
DEFAULT_MEMORY = 2**23
STRETCH = 1.0001  # a last step this much longer than planned saves a tiny one


class State(NamedTuple):
    """Where a solve is; with lanes, every entry ends in their axis.

    Attributes:
        s: Time from the start.
        y: State, shape (size,).
        slope: Its derivative.
        h: The step size to try next.
        error: The squared error of the last accepted step.
        status: RUNNING or why it has stopped.
        accepted: Steps accepted.
        rejected: Steps rejected.
    """

    s: Array
    y: Array
    slope: Array
    h: Array
    error: Array
    status: Array
    accepted: Array
    rejected: Array

    def take(self, lanes: Array) -> "State":
        """Some of the lanes."""
        return State(*(jnp.take(x, lanes, axis=-1) for x in self))

    def put(self, lanes: Array, part: "State") -> "State":
        """These states with some lanes replaced."""
        return State(*(x.at[..., lanes].set(new) for x, new in zip(self, part, strict=True)))


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
    n_points = setting.times.shape[0] - 1
    lanes = y0.shape[1:]
    points = None
    if n_points:
        shape = (n_points, *lanes)
        nothing = jnp.full((n_points, *y0.shape), jnp.nan, y0.dtype)
        base = jnp.broadcast_to(y0, nothing.shape)
        points = Points(nothing, jnp.zeros(shape, y0.dtype), jnp.zeros(shape, y0.dtype), base)
    sizes = level_sizes(lanes[0]) if lanes and problem.compact else (*lanes, 1)[:1]
    tried = jnp.asarray(0, jnp.int32)
    members, ends, stores, above = [], [], [], []
    for level, size in enumerate(sizes):
        if level:
            order = jnp.argsort(state.status != RUNNING, stable=True)[:size].astype(jnp.int32)
            members.append(order)
            above.append((state, points))
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

    def one_step(y: Array, data: tuple[Array, Array]) -> tuple[Array, Array | None]:
        s, h = data
        return step(field, problem.tableau, s, y, h), y if keep else None

    def one_interval(y: Array, data: tuple[Array, Array]) -> tuple[Array, tuple]:
        begin, h = data
        inner = (
            begin + h * jnp.arange(n, dtype=h.dtype).reshape(n, *(1,) * h.ndim),
            jnp.broadcast_to(h, (n, *h.shape)),
        )
        y, kept = jax.lax.scan(one_step, y, inner)
        return y, (y, *inner, kept)

    _, (ys, s, h, kept) = jax.lax.scan(one_interval, y0, (begins, sizes))
    points, stores = None, []
    if keep:
        stores = [_flat_store(s, h, kept)]
    if times.shape[0] > 1:
        points = Points(ys[:-1], begins[1:], sizes[1:], ys[:-1])
    good = jnp.all(jnp.isfinite(ys[-1]), axis=0)
    total = jnp.asarray(n * times.shape[0], jnp.int32)
    none = jnp.zeros(lanes, jnp.int32)
    state = State(
        times[-1], ys[-1], y0, sizes[-1], none, jnp.where(good, DONE, NOT_FINITE), none + total, none
    )
    return state, points, Levels((*lanes, 1)[:1], [], [total], stores)


def _flat_store(s: Array, h: Array, y: Array) -> Store:
    s, h, y = (x.reshape(-1, *x.shape[2:]) for x in (s, h, y))
    return Store(s, h, y, jnp.asarray(1, jnp.int32))


def start(problem: Problem, setting: Setting, y0: Array) -> State:
    """The state before the first step."""
    field = forward_field(problem, setting)
    zero = jnp.zeros_like(setting.span)
    slope = field(zero, y0)
    h = first_step(field, problem.tableau.error_order, y0, slope, setting.span, setting.rtol, setting.atol)
    good = jnp.all(jnp.isfinite(slope), axis=0)
    none = jnp.zeros(zero.shape, jnp.int32)
    return State(zero, y0, slope, h, jnp.ones_like(zero), jnp.where(good, RUNNING, NOT_FINITE), none, none)


def try_step(problem: Problem, setting: Setting, state: State) -> tuple[State, Array, Array]:
    """One step, accepted or not; also its size (zero if not) and whether it was."""
    tableau: Tableau = problem.tableau
    field = forward_field(problem, setting)
    s, y, slope, h, last_error, status, accepted, rejected = state
    running = status == RUNNING
    last = h * STRETCH >= setting.span - s
    h = jnp.where(last, setting.span - s, h)
    _, states, slopes = stages(field, tableau, s, y, h, slope, len(tableau.a) + 1)
    y_new, slope_new = states[-1], slopes[-1]
    error = squared_error(tableau, h, slopes, y, y_new, setting.rtol, setting.atol)
    finite = jnp.all(jnp.isfinite(y_new) & jnp.isfinite(slope_new), axis=0)
    error = jnp.where(finite, error, jnp.nan)
    good = error <= 1
    h_next = next_step(tableau.error_order, h, good, error, last_error)
    eps, tiny = jnp.finfo(y.dtype).eps, jnp.finfo(y.dtype).tiny
    stuck = running & ~good & (h_next <= 2 * eps * s + 1e4 * tiny)
    made = running & good
    why = jnp.where(jnp.isfinite(error), UNDERFLOW, NOT_FINITE)
    status = jnp.where(made & last, DONE, jnp.where(stuck, why, status))
    new = State(
        jnp.where(made, jnp.where(last, setting.span, s + h), s),
        jnp.where(made, y_new, y),
        jnp.where(made, slope_new, slope),
        jnp.where(running, h_next, state.h),
        jnp.where(made, error, last_error),
        status,
        accepted + made,
        rejected + (running & ~good),
    )
    return new, jnp.where(made, h, 0.0), made


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

    single = state.s.ndim == 0
    if not keep and points is None:  # nothing to remember

        def simply(carry: tuple) -> tuple:
            state, tried = carry
            return try_step(problem, setting, state)[0], tried + 1

        state, tried = jax.lax.while_loop(lambda carry: going(*carry), simply, (state, tried))
        return state, None, None, tried, tried

    width, lanes = state.y.size, state.s.shape
    n = block_rows(problem, width, state.y.dtype.itemsize)
    narrow = single and width <= NARROW and n >= SUBBLOCK
    spare = SUBBLOCK if narrow else 0
    store = None
    if keep:
        shapes = store_shapes(problem, state.y.shape[0], (*lanes, None)[0], state.y.dtype.itemsize)
        s, h, y = (jnp.zeros(shape, state.y.dtype) for shape in shapes)
        store = Store(s, h, y, jnp.asarray(1, jnp.int32))
    window, times = 0, setting.times[:-1]
    if points is not None:
        window = min(max(16, BLOCK_ENTRIES // width), points.s.shape[0])
        points = Points(*(_pad(x, window) for x in points))
        times = _pad(times, window)

    def inner(carry: tuple) -> tuple:
        state, rows, count, tried = carry
        new, h, made = try_step(problem, setting, state)
        rows = _write(rows, Rows(state.s, h, state.y), count)
        return new, rows, count + (made if single else 1), tried + 1

    def outer(carry: tuple) -> tuple:
        state, store, points, row, tried = carry
        before = state.s
        rows = Rows(
            jnp.zeros((n + spare, *lanes), state.y.dtype),
            jnp.zeros((n + spare, *lanes), state.y.dtype),
            jnp.zeros((n + spare, *state.y.shape), state.y.dtype),
        )
        none = jnp.zeros_like(row)
        if narrow:
            state, rows, count, tried = _fill_narrow(problem, setting, state, rows, tried, going, n)
        else:
            state, rows, count, tried = jax.lax.while_loop(
                lambda carry: going(carry[0], carry[3]) & (carry[2] < n), inner, (state, rows, none, tried)
            )
        rows = Rows(*(x[:n] for x in rows))
        if points is not None:
            points = _fill_points(problem, setting, times, rows, points, count, before, state, window)
        if store is not None:
            store = put_block(store, rows, row)
        return state, store, points, row + count, tried

    carry = (state, store, points, jnp.asarray(0, jnp.int32), tried)
    state, store, points, row, tried = jax.lax.while_loop(lambda c: going(c[0], c[4]), outer, carry)
    if points is not None:
        points = Points(*(x[:-window] for x in points))
    return state, points, store, row, tried


def _fill_narrow(
    problem: Problem, setting: Setting, state: State, rows: Rows, tried: Array, going: Callable, n: int
) -> tuple[State, Rows, Array, Array]:
    """Fills a block for one state of a few entries, by an inner loop small enough to become one kernel."""

    def inner(carry: tuple) -> tuple:
        state, values, count, tried = carry
        new, h, made = try_step(problem, setting, state)
        row = jnp.concatenate([state.s[None], h[None], state.y])
        values = jax.lax.dynamic_update_index_in_dim(values, row, count, 0)
        return new, values, count + made, tried + 1

    def outer(carry: tuple) -> tuple:
        state, rows, row, tried = carry
        values = jnp.zeros((SUBBLOCK, state.y.shape[0] + 2), state.y.dtype)
        state, values, count, tried = jax.lax.while_loop(
            lambda c: going(c[0], c[3]) & (c[2] < SUBBLOCK),
            inner,
            (state, values, jnp.zeros_like(row), tried),
        )
        parts = (values[:, 0], values[:, 1], values[:, 2:])
        write = partial(jax.lax.dynamic_update_slice_in_dim, start_index=row, axis=0)
        return state, Rows(*map(write, rows, parts)), row + count, tried

    none = jnp.zeros_like(tried)
    return jax.lax.while_loop(
        lambda c: going(c[0], c[3]) & (c[2] + SUBBLOCK <= n), outer, (state, rows, none, tried)
    )


def block_rows(problem: Problem, width: int, itemsize: int) -> int:
    """The rows of a block, a power of two."""
    capacity, _ = capacities(problem, width, itemsize)
    return min(BLOCK_ROWS, max(SUBBLOCK, 1 << (BLOCK_ENTRIES // width).bit_length()), capacity)


def store_shapes(problem: Problem, size: int, n_lanes: int | None, itemsize: int) -> list[tuple[int, ...]]:
    """The shapes of the s, h and y of a store, with room for one block more."""
    lanes = () if n_lanes is None else (n_lanes,)
    width = size * (n_lanes or 1)
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


def _pad(x: Array, n: int) -> Array:
    return jnp.concatenate([x, jnp.zeros((n, *x.shape[1:]), x.dtype)])


def _write(rows: Rows, values: Rows, at: Array) -> Rows:
    return Rows(*map(partial(jax.lax.dynamic_update_index_in_dim, index=at, axis=0), rows, values))


def _fill_points(
    problem: Problem,
    setting: Setting,
    times: Array,
    rows: Rows,
    points: Points,
    count: Array,
    before: Array,
    state: State,
    window: int,
) -> Points:
    """The interior points that lie in a block of rows, a window of them at a time."""
    inside = setting.times[:-1]
    first = jnp.min(jnp.sum(inside < before, axis=0))
    end = jnp.max(jnp.sum(inside < state.s, axis=0))
    take = _take_rows if state.s.ndim else partial(jnp.take, axis=0)
    read = partial(jax.lax.dynamic_slice_in_dim, slice_size=window)

    def body(carry: tuple) -> tuple:
        at, points = carry
        time, old = read(times, at), Points(*(read(x, at) for x in points))
        here = (time >= before) & (time < state.s) & (at + _column(window, time) < inside.shape[0])
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
