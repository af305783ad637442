"""Times at which a field jumps, as gaps in the time that a solver sees.

No step may go across a jump, and the field must not be asked on the wrong side of one, nor at it, where
rounding decides. So the solver has a time of its own, tau, in which a few roundings are left out around every
jump:

    user's time t:     T_0 ........... T_1 ............. T_2
    solver's time tau: A_0 ....... B_0     A_1 ..... B_1

Each piece of tau is mapped to its piece of t by a line, t = T_j + rho_j (tau - A_j), and
dy/dtau = rho f(t, y). The gaps stay where they are when the jumps T_j move, so derivatives by them come out
of the map: that of a loss is a(T) (f before - f after), with the adjoint a, without anyone having to know it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from backthrough.ode.flatten import Flat
from backthrough.ode.solution import Status

MARGIN, GAP, NEAREST = 2, 4, 12  # in units of the last digit of the largest time


class Clock(NamedTuple):
    """The map between the user's time and the solver's.

    Attributes:
        knots: T, rising: the earlier end of the solve, the jumps, the later end. Shape (jumps + 2,).
        begins: A, shape (jumps + 1,).
        ends: B.
        margins: How far the field is kept away from each knot, shape (jumps + 2,).
        before: How many jumps are no later than the earlier end.
    """

    knots: Array
    begins: Array
    ends: Array
    margins: Array
    before: Array

    def user(self, tau: Array) -> Array:
        """The user's time."""
        return self._at(tau)[0]

    def rate(self, tau: Array) -> tuple[Array, Array]:
        """The user's time, kept within its piece, and how much of it goes by in one of the solver's."""
        t, j, rate = self._at(tau)
        low, high = self.knots[j] + self.margins[j], self.knots[j + 1] - self.margins[j + 1]
        # its derivative goes on: a step begins and ends at the border
        return t + jax.lax.stop_gradient(jnp.clip(t, low, high) - t), rate

    def solver(self, ts: Array) -> Array:
        """The solver's times of the user's; at a jump the one before it."""
        fixed = jax.lax.stop_gradient(ts)
        j = self._piece(fixed)
        rate = self._rates()[j]
        inside = self.begins[j] + (ts - self.knots[j]) / rate
        # the end of a piece is met exactly
        border = jnp.where(fixed == self.knots[j + 1], self.ends[j], inside)
        return inside + jax.lax.stop_gradient(border - inside)

    def _at(self, tau: Array) -> tuple[Array, Array, Array]:
        j = self._piece(jax.lax.stop_gradient(tau))
        rate = self._rates()[j]
        return self.knots[j] + (tau - self.begins[j]) * rate, j, rate

    def _piece(self, time: Array) -> Array:
        jumps = jax.lax.stop_gradient(self.knots[1:-1])
        passed = jnp.sum(jumps.reshape(-1, *(1,) * time.ndim) < time, axis=0)
        return jnp.maximum(passed, self.before)

    def _rates(self) -> Array:
        width = self.ends - self.begins
        there = width > 0
        return jnp.where(there, jnp.diff(self.knots) / jnp.where(there, width, 1), 1)


def make_clock(jump_ts: Array, ts: Array) -> tuple[Clock, Array, Array]:
    """A clock.

    Args:
        jump_ts: The jumps in any order; those outside of the solve have no effect.
        ts: The times of the solve.

    Returns:
        The clock; the solver's times at both sides of each gap, shape (2, jumps), infinite for a jump that
        needs none; and whether the jumps are of use: two that differ must not be too close to be told apart.
    """
    ts = jax.lax.stop_gradient(ts)
    low, high = jnp.minimum(ts[0], ts[-1]), jnp.maximum(ts[0], ts[-1])
    unit = jnp.finfo(ts.dtype).eps * jnp.maximum(jnp.abs(low), jnp.abs(high))
    gap = GAP * unit
    jumps = jnp.sort(jump_ts)
    fixed = jax.lax.stop_gradient(jumps)
    early, late = fixed <= low + 2 * gap, fixed >= high - 2 * gap
    jumps = jnp.where(early, low, jnp.where(late, high, jumps))
    fixed = jax.lax.stop_gradient(jumps)
    inside = ~early & ~late
    distance = jnp.diff(fixed)
    usable = jnp.all((distance <= 0) | (distance >= NEAREST * unit)) & ~jnp.any(jnp.isnan(jump_ts))
    width = jnp.where(inside, gap, 0)
    begins = jnp.concatenate([low[None], fixed + width])
    ends = jnp.concatenate([fixed - width, high[None]])
    jumps = jumps[jnp.searchsorted(fixed, fixed)]  # of equal ones the first has the derivative
    knots = jnp.concatenate([low[None], jumps, high[None]])
    before = jnp.sum(early)
    at_jump = jnp.ones_like(fixed, bool)
    margins = MARGIN * unit * jnp.concatenate([(before > 0)[None], at_jump, jnp.any(late)[None]])
    clock = Clock(knots, begins, ends, margins, before)
    gaps = jnp.where(inside, jnp.stack([fixed - gap, fixed + gap]), jnp.inf)
    return clock, gaps, usable


def stop_at_jumps(
    flat: Flat, ts: Array, jumps: Array | None, status: Array
) -> tuple[Flat, Array, Clock | None, Array, Array]:
    """The problem in the solver's time: field, times, clock, gaps, and a status that says if it can't be."""
    if jumps is None:
        return flat, ts, None, jnp.zeros((2, 0), ts.dtype), status
    clock, gaps, usable = make_clock(jumps, ts)
    status = jnp.where((status == Status.DONE) & ~usable, Status.JUMPS, status)
    n = len(flat.leaves)

    def field(tau: Array, y: Array, leaves: Sequence[Any]) -> Array:
        t, rate = Clock(*leaves[n:]).rate(tau)
        return rate * flat.field(t, y, leaves[:n])

    timed = flat._replace(field=field, leaves=[*flat.leaves, *clock])
    return timed, clock.solver(ts), clock, gaps, status


def passed(gaps: Array, begin: Array, end: Array) -> Array:
    """How many gaps lie between two of the solver's times."""
    earlier, later = jnp.minimum(begin, end), jnp.maximum(begin, end)
    return jnp.sum((jnp.min(gaps, axis=0) >= earlier) & (jnp.max(gaps, axis=0) <= later))
