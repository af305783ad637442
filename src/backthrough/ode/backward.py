"""The adjoint equation solved backwards, da/dt = -a^T df/dy (Chen et al. 2018, eq. 4), in steps of its own.

Time runs down, from the last to the first. What a parameter's gradient sums up, a^T df/dp, has no feedback.
For a few parameters it is solved for too, for many it is formed for many stages at once; in both cases its
error is controlled, see `parameter_integrals`.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from backthrough.ode.curve import Window, take_row
from backthrough.ode.parameter_integrals import Watch, along_direction
from backthrough.ode.rungekutta import STARTING, combine, estimates, mean_square, next_step, squared_error
from backthrough.ode.setting import Problem, Setting, explicit
from backthrough.ode.stepping import DONE, MAX_STEPS, NOT_FINITE, RUNNING, STRETCH, UNDERFLOW
from backthrough.ode.sums import Sums

DRIFTED = 4  # a status of Backsolve only
CHUNK_ENTRIES, CHUNK_ROWS = 1024, 16  # the most entries and rows whose sums are formed in one product
FACTOR = 4  # a backward solve may try so many times the steps of a forward one


class Back(NamedTuple):
    """Where a backward solve is; with lanes, every entry but the last two ends in their axis.

    Attributes:
        s: Time from the start, which falls.
        a: The adjoint, shape (size,); for `Backsolve` behind the state, (2 size,).
        sums: The integrals that are watched, from here to the end, shape (watched,).
        largest: The largest size that each of them has had.
        unit: The largest change of the loss that a change of the state by its own size has made.
        y: The state here.
        slope: The derivatives of `a`, looking back, and behind them those of `sums` of few parameters.
        stale: Whether `y` and `slope` must be found anew, since `a` has jumped.
        h: The step size to try next.
        error: The squared error of the last accepted step; see `next_step`.
        status: RUNNING or why it has stopped.
        pointer: The next save time.
        tried: Steps tried.
        anew: How often `y` and `slope` were found anew.
    """

    s: Array
    a: Array
    sums: Array
    largest: Array
    unit: Array
    y: Array
    slope: Array
    stale: Array
    h: Array
    error: Array
    status: Array
    pointer: Array
    tried: Array
    anew: Array


class Equation(NamedTuple):
    """What is solved backwards.

    Attributes:
        problem: What was solved forwards.
        setting: Its data.
        wanted: Which leaves have gradients.
        seen: Which integrals are carried for them.
        window: s -> the two steps of the forward solve before here, further than which no step goes: what
            made them short may be too brief to show in the error of a step across it. None if not known.
        rate: (window, s, a) -> y, -da/ds, and the integrands of few parameters.
        jump: (back, arrived) -> back after the save time that its pointer is at, for the lanes `arrived`.
        scale: (a before, a after) -> the error that is allowed in a step.
        adjoint: a -> the adjoint in it.
    """

    problem: Problem
    setting: Setting
    wanted: tuple[int, ...]
    seen: Watch
    window: Callable[[Array], Window | None]
    rate: Callable[[Window | None, Array, Array], tuple[Array, Array, Array]]
    jump: Callable[[Back, Array], Back]
    scale: Callable[[Array, Array], Array]
    adjoint: Callable[[Array], Array]


def begin(equation: Equation, a: Array, y: Array, s: Array, h: Array, ct: Array) -> Back:
    """The beginning of a backward solve from the adjoint `a` at the time `s`, and its end where `ct` is 0."""
    times = equation.setting.times[:-1]
    none = jnp.zeros(s.shape, jnp.int32)
    pointer = none + jnp.sum(times < s, axis=0).astype(jnp.int32) - 1
    stale = jnp.ones(s.shape, bool)
    zero = jnp.asarray(0, jnp.int32)
    sums = jnp.zeros((equation.seen.size, *s.shape), a.dtype)
    largest = jnp.zeros((len(equation.seen.each(sums)), *s.shape), a.dtype)
    slope = jnp.zeros((a.shape[0] + equation.seen.n_few, *s.shape), a.dtype)
    error = jnp.full_like(s, STARTING)
    status = jnp.where(jnp.all(ct == 0, axis=(0, 1)), DONE, none + RUNNING)
    unit = jnp.zeros_like(s)
    return Back(s, a, sums, largest, unit, y, slope, stale, h, error, status, pointer, zero, zero)


def adjoint_tolerance(before: Array, after: Array, rtol: Array) -> Array:
    """The error allowed in an adjoint: relative, since a loss may have any unit."""
    size = jnp.maximum(jnp.abs(before), jnp.abs(after))
    return rtol * (size + jnp.sqrt(mean_square(size))) + jnp.finfo(size.dtype).tiny


def cross(equation: Equation, back: Back, until: Array, gradient: list[Array]) -> tuple[Back, list[Array]]:
    """Solves down to the time `until` or a step further, and adds what many parameters get there."""
    problem, setting = equation.problem, equation.setting
    sums = Sums(problem, setting, equation.seen.many)
    width, single = equation.adjoint(back.a).size, back.s.ndim == 0
    b = explicit(problem).b
    used = [i for i, weight in enumerate(b) if weight]
    n_rows = max(1, min(CHUNK_ROWS, CHUNK_ENTRIES // width))
    most = FACTOR * problem.max_steps + setting.times.shape[0]

    def going(back: Back) -> Array:
        return jnp.any((back.status == RUNNING) & (back.s > until)) & (back.tried < most)

    if not equation.seen.many:
        simply = partial(_try_step, equation, until)
        return jax.lax.while_loop(going, lambda back: simply(back)[0], back), gradient

    def one_chunk(carry: tuple) -> tuple:
        back, gradient = carry
        lanes, s = back.s.shape, back.s
        blank = (  # a short chunk is filled up with a point that exists, and weighs nothing
            jnp.broadcast_to(s, (n_rows, len(used), *lanes)),
            jnp.broadcast_to(back.y, (n_rows, len(used), *back.y.shape)),
            jnp.zeros((n_rows, len(used), *back.y.shape), back.a.dtype),
        )

        def one(inner: tuple) -> tuple:
            back, kept, count = inner
            new, made, times, states, adjoints = _try_step(equation, until, back)
            stages = (
                jnp.stack([times[i] for i in used]),
                jnp.stack([states[i] for i in used]),
                jnp.stack([b[i] * adjoints[i] for i in used]),
            )
            kept = tuple(map(partial(jax.lax.dynamic_update_index_in_dim, index=count, axis=0), kept, stages))
            return new, kept, count + (made if single else 1)

        first = (back, blank, jnp.zeros_like(back.tried))
        back, (times, states, weights), count = jax.lax.while_loop(
            lambda c: going(c[0]) & (c[2] < n_rows), one, first
        )
        there = (jnp.arange(n_rows) < count).reshape(n_rows, *(1,) * (weights.ndim - 1))
        return back, sums.add(gradient, times, states, jnp.where(there, weights, 0))

    return jax.lax.while_loop(lambda carry: going(carry[0]), one_chunk, (back, gradient))


def finish(back: Back, until: Array) -> Array:
    """Why a backward solve to `until` has stopped."""
    arrived = jnp.where(back.s > until, MAX_STEPS, DONE)
    return jnp.where(back.status == RUNNING, arrived, back.status)


def _try_step(
    equation: Equation, until: Array, back: Back
) -> tuple[Back, Array, list[Array], list[Array], list[Array]]:
    """One step towards the next save time; whether it was made; times, states and weights."""
    tableau, setting = explicit(equation.problem), equation.setting
    s = back.s
    running = (back.status == RUNNING) & (s > until)
    window = equation.window(s)
    target, at_point = until if window is None else window.begin, jnp.zeros(s.shape, bool)
    if setting.high.shape[0]:
        target = jnp.maximum(target, jnp.max(jnp.where(setting.high < s, setting.high, -jnp.inf), axis=0))
    if setting.times.shape[0] > 1:
        point = take_row(setting.times, jnp.maximum(back.pointer, 0))
        at_point = (back.pointer >= 0) & (point >= target)
        target = jnp.where(at_point, point, target)
    n, few = back.a.shape[0], equation.seen.n_few

    def rate(s: Array, value: Array) -> tuple[Array, Array]:
        y, slope, integrands = equation.rate(window, s, value[:n])
        return y, jnp.concatenate([slope, integrands])

    first = jnp.concatenate([back.a, back.sums[:few]])  # as one, small ones take fewer kernels
    y, slope = jax.lax.cond(
        jnp.any(back.stale),
        lambda: rate(s, first),
        lambda: (back.y, back.slope),
    )
    planned = back.h if setting.largest is None else jnp.minimum(back.h, setting.largest)
    last = planned * STRETCH >= s - target
    h = jnp.where(last, jnp.maximum(s - target, 0), planned)
    times, states, values, slopes = [s], [y], [first], [slope]
    for row, c in zip(tableau.a, tableau.c, strict=True):
        times.append(s - c * h)
        values.append(first + h * combine(row, slopes))
        state, slope = rate(times[-1], values[-1])
        states.append(state)
        slopes.append(slope)
    a, sums = values[-1][:n], values[-1][n:]
    finite = jnp.all(jnp.isfinite(values[-1]) & jnp.isfinite(slope), axis=0)
    adjoints = [equation.adjoint(value[:n]) for value in values]
    estimated = estimates(tableau, h, slopes)
    error = squared_error([e[:n] for e in estimated], equation.scale(back.a, a))
    largest, unit = back.largest, back.unit
    if largest.shape[0]:
        of_sums = [e[n:] for e in estimated]
        if equation.seen.many:
            along = along_direction(equation.problem, setting, equation.seen, times, states, adjoints)
            sums = jnp.concatenate([sums, back.sums[few:] + h * combine(tableau.b, along)])
            finite &= jnp.all(jnp.isfinite(sums[few:]), axis=0)
            more = estimates(tableau, h, along)
            of_sums = [jnp.concatenate(pair) for pair in zip(of_sums, more, strict=True)]
        unit = jnp.maximum(unit, y.shape[0] * jnp.sqrt(mean_square(adjoints[0]) * mean_square(y)))
        largest = equation.seen.largest(largest, sums)
        allowed = equation.seen.allowed(setting, largest, unit)
        error = jnp.maximum(error, jnp.max(equation.seen.errors(of_sums, allowed), axis=0))
    error = jnp.where(finite, error, jnp.nan)
    good = error <= 1
    h_next, kept_error = next_step(tableau.error_order, h, good, error, back.error)
    h_next = jnp.where(good & last, jnp.maximum(h_next, back.h), h_next)  # a step cut short says little
    made = running & good
    eps, tiny = jnp.finfo(a.dtype).eps, jnp.finfo(a.dtype).tiny
    stuck = running & ~good & (h_next <= 2 * eps * s + 1e4 * tiny)
    why = jnp.where(jnp.isfinite(error), UNDERFLOW, NOT_FINITE)
    new = Back(
        jnp.where(made, jnp.where(last, target, s - h), s),
        jnp.where(made, a, back.a),
        jnp.where(made, sums, back.sums),
        jnp.where(made, largest, back.largest),
        jnp.where(made, unit, back.unit),
        jnp.where(made, states[-1], y),
        jnp.where(made, slope, slopes[0]),
        jnp.zeros_like(back.stale),
        jnp.where(running, h_next, back.h),
        jnp.where(made, kept_error, back.error),
        jnp.where(stuck, why, back.status),
        back.pointer,
        back.tried + 1,
        back.anew + jnp.any(back.stale),
    )
    if setting.high.shape[0]:
        new = _cross_gap(setting, new, made & last)
    weights = [jnp.where(made, h * adjoint, 0) for adjoint in adjoints]
    states = [jnp.where(made, state, new.y) for state in [y, *states[1:]]]
    return equation.jump(new, made & last & at_point), made, times, states, weights


def _cross_gap(setting: Setting, back: Back, arrived: Array) -> Back:
    """The solve before the gap behind which it is, for the lanes `arrived`."""
    here = arrived & (setting.high == back.s)
    crossed = jnp.any(here, axis=0)
    s = jnp.max(jnp.where(here, setting.low, -jnp.inf), axis=0)
    return back._replace(s=jnp.where(crossed, s, back.s), stale=back.stale | crossed)
