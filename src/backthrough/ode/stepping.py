"""Where an adaptive solve is, and one step of it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from backthrough.ode.onestep import attempt
from backthrough.ode.rungekutta import STARTING, first_step, next_step, squared_error, tolerance
from backthrough.ode.setting import Problem, Setting, forward_field

RUNNING, DONE, MAX_STEPS, UNDERFLOW, NOT_FINITE = -1, 0, 1, 2, 3
STRETCH = 1.0001  # a last step this much longer than planned saves a tiny one


class State(NamedTuple):
    """Where a solve is; with lanes, every entry ends in their axis.

    Attributes:
        s: Time from the start.
        y: State, shape (size,).
        slope: Its derivative.
        h: The step size to try next.
        error: The squared error of the last accepted step; see `next_step`.
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


def start(problem: Problem, setting: Setting, y0: Array) -> State:
    """The state before the first step."""
    field = forward_field(problem, setting)
    zero = jnp.zeros_like(setting.span)
    slope = field(zero, y0)
    h = first_step_at(problem, setting, zero, y0, slope)
    good = jnp.all(jnp.isfinite(slope), axis=0)
    none = jnp.zeros(zero.shape, jnp.int32)
    error = jnp.full_like(zero, STARTING)
    return State(zero, y0, slope, h, error, jnp.where(good, RUNNING, NOT_FINITE), none, none)


def next_stop(problem: Problem, setting: Setting, s: Array) -> Array:
    """The next time at which a step must end."""
    stop = setting.span
    if setting.low.shape[0]:
        stop = jnp.minimum(stop, jnp.min(jnp.where(setting.low > s, setting.low, jnp.inf), axis=0))
    if problem.stop_at_ts:
        stop = jnp.minimum(stop, jnp.min(jnp.where(setting.times > s, setting.times, jnp.inf), axis=0))
    return stop


def first_step_at(problem: Problem, setting: Setting, s: Array, y: Array, slope: Array) -> Array:
    """A first step from some time on."""
    field = forward_field(problem, setting)
    ahead = next_stop(problem, setting, s) - s
    order = problem.tableau.error_order
    return first_step(lambda h, y: field(s + h, y), order, y, slope, ahead, setting.rtol, setting.atol)


def _start_anew(problem: Problem, setting: Setting, state: State, arrived: Array) -> State:
    """The state behind the gap before which it is, for the lanes `arrived`: nothing is known there."""
    here = setting.low == state.s
    arrived = arrived & jnp.any(here, axis=0)
    s = jnp.where(arrived, jnp.min(jnp.where(here, setting.high, jnp.inf), axis=0), state.s)

    def anew() -> tuple[Array, Array]:
        slope = forward_field(problem, setting)(s, state.y)
        return slope, first_step_at(problem, setting, s, state.y, slope)

    slope, h = jax.lax.cond(jnp.any(arrived), anew, lambda: (state.slope, state.h))
    good = jnp.all(jnp.isfinite(slope), axis=0)
    return state._replace(
        s=s,
        slope=jnp.where(arrived, slope, state.slope),
        h=jnp.where(arrived, h, state.h),
        error=jnp.where(arrived, STARTING, state.error),
        status=jnp.where(arrived & ~good, NOT_FINITE, state.status),
    )


def try_step(problem: Problem, setting: Setting, state: State) -> tuple[State, Array, Array]:
    """One step, accepted or not; also its size (zero if not) and whether it was."""
    tableau = problem.tableau
    field = forward_field(problem, setting)
    s, y, slope, h, last_error, status, accepted, rejected = state
    running = status == RUNNING
    planned = h if setting.largest is None else jnp.minimum(h, setting.largest)
    stop = next_stop(problem, setting, s)
    cut = planned * STRETCH >= stop - s
    h = jnp.where(cut, stop - s, planned)
    y_new, slope_new, errors = attempt(field, tableau, s, y, h, slope)
    error = squared_error(errors, tolerance(y, y_new, setting.rtol, setting.atol))
    finite = jnp.all(jnp.isfinite(y_new) & jnp.isfinite(slope_new), axis=0)
    error = jnp.where(finite, error, jnp.nan)
    good = error <= 1
    h_next, kept_error = next_step(tableau.error_order, h, good, error, last_error)
    if stop is not setting.span:  # a step that was cut short says little
        h_next = jnp.where(good & cut, jnp.maximum(h_next, planned), h_next)
    last = cut & (stop >= setting.span)
    eps, tiny = jnp.finfo(y.dtype).eps, jnp.finfo(y.dtype).tiny
    stuck = running & ~good & (h_next <= 2 * eps * s + 1e4 * tiny)
    made = running & good
    why = jnp.where(jnp.isfinite(error), UNDERFLOW, NOT_FINITE)
    status = jnp.where(made & last, DONE, jnp.where(stuck, why, status))
    new = State(
        jnp.where(made, jnp.where(cut, stop, s + h), s),
        jnp.where(made, y_new, y),
        jnp.where(made, slope_new, slope),
        jnp.where(running, h_next, state.h),
        jnp.where(made, kept_error, last_error),
        status,
        accepted + made,
        rejected + (running & ~good),
    )
    if setting.low.shape[0]:
        new = _start_anew(problem, setting, new, made & cut)
    return new, jnp.where(made, h, 0.0), made
