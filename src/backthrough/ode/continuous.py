"""The continuous adjoints: the adjoint equation solved backwards, and where each takes the state from.

`Continuous` from checkpoints of the forward solve, `Interpolated` from all of its steps, and `Backsolve`
(Chen et al. 2018, algorithm 1) by solving for it backwards too.
"""

from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from backthrough.ode.adjoints import Backsolve, Continuous, Interpolated
from backthrough.ode.backward import (
    DRIFTED,
    Back,
    Equation,
    adjoint_tolerance,
    begin,
    cross,
    finish,
)
from backthrough.ode.checkpoints import SPARE, Checkpoints, record, solve_again
from backthrough.ode.curve import Curve, Window, curve_of, take_row
from backthrough.ode.differentiate import Method
from backthrough.ode.forward import integrate
from backthrough.ode.parameter_integrals import gradients, rates, watch
from backthrough.ode.rungekutta import mean_square, tolerance
from backthrough.ode.setting import Problem, Setting, explicit
from backthrough.ode.stepping import DONE, RUNNING, State
from backthrough.ode.store import Rows
from backthrough.ode.sums import Sums

MEMORY = 2**23  # bytes, for checkpoints and for a stretch each, if they may be as few as LEAST
LEAST, MOST = 8, 64
ROOM = 16  # states for each row of a stretch: its polynomial and the stages that it is made of

ContinuousAdjoint = Continuous | Interpolated | Backsolve
Stretch = Callable[[Array, Array], tuple[Array, Curve]]
"""(index, time up to which) -> where the stretch begins, and the solution in it."""


def continuous(adjoint: Continuous) -> Method:
    """The method of `Continuous`."""

    def kept_record(problem: Problem, setting: Setting, y0: Array):
        width, itemsize = y0.size, y0.dtype.itemsize
        n = adjoint.checkpoints or _as_many(2 * width * itemsize)
        state, points, kept = record(problem, setting, y0, n, _length(width, itemsize))
        numbers = _numbers([kept.stride, kept.n_stretches], y0)
        return state, points, [*kept.states, numbers, state.s, state.h]

    def pull(problem, setting, wanted, y0, ct, tape):
        *states, numbers, s, h = tape
        stride, n_stretches = _largest(numbers)
        kept = Checkpoints(State(*states), stride, n_stretches)
        length = _length(y0.size, y0.dtype.itemsize)

        def stretch(index: Array, upto: Array) -> tuple[Array, Curve]:
            return solve_again(problem, setting, kept, index, upto, length)

        return _pull_on(stretch, n_stretches, adjoint, problem, setting, wanted, ct, s, h)

    return Method("Continuous", 11, kept_record, pull)


def interpolated(adjoint: Interpolated) -> Method:
    """The method of `Interpolated`."""

    def kept_record(problem: Problem, setting: Setting, y0: Array):
        everything = problem._replace(memory=float("inf"), compact=False)
        state, points, levels = integrate(everything, setting, y0, keep=True)
        rows = levels.stores[0]
        numbers = _numbers([levels.ends[0]], y0)
        return state, points, [rows.s, rows.h, rows.y, numbers, state.s, state.h]

    def pull(problem, setting, wanted, y0, ct, tape):
        *parts, numbers, s, h = tape
        (end,) = _largest(numbers)
        length = min(_length(y0.size, y0.dtype.itemsize), parts[0].shape[0])

        def stretch(index: Array, upto: Array) -> tuple[Array, Curve]:
            first = index * length
            places = first + jnp.arange(length + SPARE)
            rows = Rows(*(jnp.take(x, places, axis=0, mode="clip") for x in parts))
            return rows.s[0], curve_of(problem, setting, rows, jnp.minimum(end - first, length + SPARE))

        n = -(-end // length)
        return _pull_on(stretch, n, adjoint, problem, setting, wanted, ct, s, h)

    return Method("Interpolated", 6, kept_record, pull)


def backsolve(adjoint: Backsolve) -> Method:
    """The method of `Backsolve`."""

    def kept_record(problem: Problem, setting: Setting, y0: Array):
        state, points, _ = integrate(problem, setting, y0, keep=False)
        ys = state.y[None] if points is None else jnp.concatenate([points.y_save, state.y[None]])
        return state, points, [ys, state.s, state.h]

    def pull(problem, setting, wanted, y0, ct, tape):
        ys, s, h = tape
        size = y0.shape[0]
        seen = watch(problem, setting, wanted, y0)

        def rate(_: Window | None, s: Array, both: Array) -> tuple[Array, Array, Array]:
            slope, to_y, integrands = rates(problem, setting, seen, s, both[:size], both[size:])
            return both[:size], jnp.concatenate([-slope, to_y]), integrands

        def drifted(back: Back, arrived: Array, known: Array) -> Array:
            """Whether the state has come back to another one."""
            y = back.a[:size]
            off = mean_square((y - known) / tolerance(known, known, setting.rtol, setting.atol))
            return jnp.where(arrived & ~(off <= adjoint.drift**2), DRIFTED, back.status)

        def jump(back: Back, arrived: Array) -> Back:
            at = jnp.maximum(back.pointer, 0)
            known = take_row(ys, at)
            both = jnp.concatenate([known, back.a[size:] + take_row(ct, at)])
            return back._replace(
                a=jnp.where(arrived, both, back.a),
                stale=back.stale | arrived,
                status=drifted(back, arrived, known),
                pointer=back.pointer - arrived,
            )

        def scale(before: Array, after: Array) -> Array:
            of_y = tolerance(before[:size], after[:size], setting.rtol, setting.atol)
            return jnp.concatenate([of_y, adjoint_tolerance(before[size:], after[size:], setting.rtol)])

        equation = Equation(
            problem, setting, wanted, seen, lambda s: None, rate, jump, scale, lambda both: both[size:]
        )
        both = jnp.concatenate([ys[-1], _last(setting, ct)])
        back = begin(equation, both, ys[-1], s, h, ct)
        back, gradient = cross(
            equation, back, jnp.zeros_like(setting.span), Sums(problem, setting, seen.many).zeros()
        )
        end = jnp.where(back.status == RUNNING, back.s <= 0, False)
        back = back._replace(status=drifted(back, end, y0))
        return _report(equation, adjoint, back, gradient)

    return Method("Backsolve", 3, kept_record, pull)


def _pull_on(
    stretch: Stretch,
    n_stretches: Array,
    adjoint: Continuous | Interpolated,
    problem: Problem,
    setting: Setting,
    wanted: tuple[int, ...],
    ct: Array,
    s: Array,
    h: Array,
) -> list[Array]:
    """The cotangents, by solving for the adjoint alone, one stretch of the solution after the other."""

    def jump(back: Back, arrived: Array) -> Back:
        pushed = back.a + take_row(ct, jnp.maximum(back.pointer, 0))
        return back._replace(
            a=jnp.where(arrived, pushed, back.a),
            stale=back.stale | arrived,
            pointer=back.pointer - arrived,
        )

    seen = watch(problem, setting, wanted, ct[-1])

    def equation_on(curve: Curve | None) -> Equation:
        def window(s: Array) -> Window:
            assert curve is not None
            return curve.before(s)

        def rate(window: Window | None, s: Array, a: Array) -> tuple[Array, Array, Array]:
            assert window is not None
            y = window.at(s)
            return y, *rates(problem, setting, seen, s, y, a)[1:]

        def scale(before: Array, after: Array) -> Array:
            return adjoint_tolerance(before, after, setting.rtol)

        return Equation(problem, setting, wanted, seen, window, rate, jump, scale, lambda a: a)

    def one(carry: tuple) -> tuple:
        index, back, gradient = carry
        until, curve = stretch(index - 1, back.s)
        # a step back from within the first step would see only that: the next stretch has the one before, too
        tries = jnp.sum(curve.s == curve.s[0], axis=0)
        until = jnp.where((index > 1) & (tries < SPARE), curve.first_end(), until)
        return index - 1, *cross(equation_on(curve), back, until, gradient)

    a = _last(setting, ct)
    back = begin(equation_on(None), a, a, s, h, ct)
    carry = (n_stretches, back, Sums(problem, setting, seen.many).zeros())
    _, back, gradient = jax.lax.while_loop(lambda carry: carry[0] > 0, one, carry)
    return _report(equation_on(None), adjoint, back, gradient)


def _last(setting: Setting, ct: Array) -> Array:
    """The cotangent at the end, with those of times that only fill up a grid."""
    late = setting.times[:-1] >= setting.span
    return ct[-1] + jnp.sum(jnp.where(late[:, None], ct[:-1], 0), axis=0)


def _report(equation: Equation, used: ContinuousAdjoint, back: Back, gradient: list[Array]) -> list[Array]:
    """The cotangents; an error, or NaN, if the backward solve has failed.

    `gradient` has those of the leaves of many numbers.
    """
    problem, setting = equation.problem, equation.setting
    found = gradients(setting, equation.seen, back.sums) | dict(
        zip(equation.seen.many, gradient, strict=True)
    )
    gradient = [found[i] for i in equation.wanted]
    counter = used.counter
    if counter is not None:

        def tell(spent: Array) -> None:
            counter(int(spent))

        jax.debug.callback(tell, len(explicit(problem).c) * back.tried + back.anew)
    name = type(used).__name__
    adjoint, status = equation.adjoint(back.a), finish(back, jnp.zeros_like(setting.span))
    failed = status != DONE
    if not problem.throw:
        lanes = setting.leaf_lanes
        own = [lanes is not None and lanes[i] for i in equation.wanted]
        adjoint = jnp.where(failed, jnp.nan, adjoint)
        for index, (g, yes) in enumerate(zip(gradient, own, strict=True)):
            bad = failed.reshape(-1, *(1,) * (g.ndim - 1)) if yes else jnp.any(failed)
            gradient[index] = jnp.where(bad, jnp.nan, g)
        return [adjoint, *gradient]
    whys = [
        f"needs more than four times max_steps = {problem.max_steps} steps",
        "got stuck: its step size fell below what the time can resolve",
        "met values that are not finite",
        "came back to other states than the forward solve went through",
    ]
    cure = "use adjoint=Discrete()"
    if name == "Backsolve":
        cure = "where a problem cannot be integrated backwards use adjoint=Continuous() or adjoint=Discrete()"
    messages = [f"the backward solve of {name}() {why}; {cure}" for why in whys]
    index = jnp.max(status) - 1
    return eqx.branched_error_if([adjoint, *gradient], jnp.any(failed), jnp.maximum(index, 0), messages)


def _as_many(n_bytes: int) -> int:
    """How many things of a size to keep: a power of two."""
    return min(MOST, max(LEAST, 1 << (MEMORY // n_bytes).bit_length() >> 1))


def _length(width: int, itemsize: int) -> int:
    return _as_many(ROOM * width * itemsize)


def _numbers(numbers: Sequence[Array], y0: Array) -> Array:
    """Numbers that all lanes share, with an axis of lanes if there are any."""
    row = jnp.stack(list(numbers))
    return jnp.broadcast_to(row[:, None], (*row.shape, *y0.shape[1:])) if y0.ndim > 1 else row


def _largest(numbers: Array) -> Array:
    """Those numbers again; lanes that a batched `lax.cond` has left out hold zeros."""
    return jnp.max(numbers, axis=-1) if numbers.ndim > 1 else numbers
