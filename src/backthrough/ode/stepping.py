"""Where an adaptive solve is, and one step of it."""

from typing import NamedTuple

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
    h = first_step(field, problem.tableau.error_order, y0, slope, setting.span, setting.rtol, setting.atol)
    good = jnp.all(jnp.isfinite(slope), axis=0)
    none = jnp.zeros(zero.shape, jnp.int32)
    error = jnp.full_like(zero, STARTING)
    return State(zero, y0, slope, h, error, jnp.where(good, RUNNING, NOT_FINITE), none, none)


def try_step(problem: Problem, setting: Setting, state: State) -> tuple[State, Array, Array]:
    """One step, accepted or not; also its size (zero if not) and whether it was."""
    tableau = problem.tableau
    field = forward_field(problem, setting)
    s, y, slope, h, last_error, status, accepted, rejected = state
    running = status == RUNNING
    last = h * STRETCH >= setting.span - s
    h = jnp.where(last, setting.span - s, h)
    y_new, slope_new, errors = attempt(field, tableau, s, y, h, slope)
    error = squared_error(errors, tolerance(y, y_new, setting.rtol, setting.atol))
    finite = jnp.all(jnp.isfinite(y_new) & jnp.isfinite(slope_new), axis=0)
    error = jnp.where(finite, error, jnp.nan)
    good = error <= 1
    h_next, kept_error = next_step(tableau.error_order, h, good, error, last_error)
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
        jnp.where(made, kept_error, last_error),
        status,
        accepted + made,
        rejected + (running & ~good),
    )
    return new, jnp.where(made, h, 0.0), made
