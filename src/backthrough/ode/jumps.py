"""Times at which a field jumps, as gaps in the time that a solver sees.

No step may go across a jump, and the field must not be asked on the wrong side of one, nor at it, where
rounding decides. So the solver has a time of its own, s, that runs forward from 0, and in which a few
roundings are left out around every jump:

    user's time t:   T_0 ........... T_1 ............. T_2
    solver's time s: A_0 ....... B_0     A_1 ..... B_1

Each piece of s is mapped to its piece of t by a line, t = T_j + rho_j (s - A_j), and dy/ds = rho f(t, y).
The gaps stay where they are when the jumps T_j move, so derivatives by them come out of the map: that of a
loss is a(T) (f before - f after), with the adjoint a, without anyone having to know it. It is a difference of
two integrals over pieces that may be narrow: all of the solver works with the very widths B - A.
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
        knots: T: the first time, the jumps in the direction of the solve, the last time. Shape (jumps + 2,).
        begins: A, shape (jumps + 1,).
        ends: B.
        margins: How far the field is kept away from each knot, shape (jumps + 2,).
        before: How many jumps are no later than the beginning.
        sign: Of the user's time, in the direction of the solve.
    """

    knots: Array
    begins: Array
    ends: Array
    margins: Array
    before: Array
    sign: Array

    def user(self, s: Array) -> Array:
        """The user's time."""
        return self._at(s)[0]

    def rate(self, s: Array) -> tuple[Array, Array]:
        """The user's time, kept within its piece, and how much of it goes by in one of the solver's."""
        t, j, rate = self._at(s)
        one = self.knots[j] + self.sign * self.margins[j]
        other = self.knots[j + 1] - self.sign * self.margins[j + 1]
        within = jnp.clip(t, jnp.minimum(one, other), jnp.maximum(one, other))
        # its derivative goes on: a step begins and ends at the border
        return t + jax.lax.stop_gradient(within - t), rate

    def solver(self, ts: Array) -> Array:
        """The solver's times of the user's; at a jump the one before it."""
        fixed, knots = jax.lax.stop_gradient((ts, self.knots))
        passed = jnp.sum((self.sign * knots[1:-1])[:, None] < self.sign * fixed, axis=0)
        j = jnp.maximum(passed, self.before)
        s = self.begins[j] + (ts - self.knots[j]) / self._rates()[j]
        border = jnp.where(fixed == knots[j + 1], self.ends[j], s)  # the end of a piece is met exactly
        return s + jax.lax.stop_gradient(border - s)

    def fixed(self) -> "Clock":
        """The same without derivatives."""
        return Clock(*map(jax.lax.stop_gradient, self))

    def _at(self, s: Array) -> tuple[Array, Array, Array]:
        borders = 0.5 * (self.ends[:-1] + self.begins[1:])
        passed = jnp.sum(borders.reshape(-1, *(1,) * s.ndim) < jax.lax.stop_gradient(s), axis=0)
        j = jnp.maximum(passed, self.before)
        rate = self._rates()[j]
        return self.knots[j] + (s - self.begins[j]) * rate, j, rate

    def _rates(self) -> Array:
        width = self.ends - self.begins
        there = width > 0
        return jnp.where(there, jnp.diff(self.knots) / jnp.where(there, width, 1), self.sign)


def make_clock(jump_ts: Array, ts: Array) -> tuple[Clock, Array, Array]:
    """A clock.

    Args:
        jump_ts: The jumps in any order; those outside of the solve have no effect.
        ts: The times of the solve.

    Returns:
        The clock; the solver's times at both sides of each gap, shape (2, jumps), infinite for a jump that
        needs none; and whether the jumps are of use: two that differ must not be too close to be told apart.
    """
    begin, end = jax.lax.stop_gradient((ts[0], ts[-1]))
    sign = jnp.where(end >= begin, 1, -1).astype(ts.dtype)
    span = jnp.abs(end - begin)
    unit = jnp.finfo(ts.dtype).eps * jnp.maximum(jnp.abs(begin), jnp.abs(end))
    gap = GAP * unit
    jumps = sign * jnp.sort(sign * jump_ts)
    s = sign * (jax.lax.stop_gradient(jumps) - begin)
    early, late = s <= 2 * gap, s >= span - 2 * gap
    inside = ~early & ~late
    s = jnp.where(early, 0, jnp.where(late, span, s))
    jumps = jnp.where(early, begin, jnp.where(late, end, jumps))
    jumps = jumps[jnp.searchsorted(s, s)]  # of equal ones the first has the derivative
    distance = jnp.diff(s)
    usable = jnp.all((distance <= 0) | (distance >= NEAREST * unit)) & ~jnp.any(jnp.isnan(jump_ts))
    width = jnp.where(inside, gap, 0)
    before = jnp.sum(early)
    ends_jump = [(before > 0)[None], jnp.ones_like(s, bool), jnp.any(late)[None]]
    clock = Clock(
        knots=jnp.concatenate([begin[None], jumps, end[None]]),
        begins=jnp.append(jnp.zeros_like(span), s + width),
        ends=jnp.append(s - width, span),
        margins=MARGIN * unit * jnp.concatenate(ends_jump),
        before=before,
        sign=sign,
    )
    gaps = jnp.where(inside, jnp.stack([s - gap, s + gap]), jnp.inf)
    return clock, gaps, usable


def stop_at_jumps(
    flat: Flat, ts: Array, jumps: Array | None, status: Array
) -> tuple[Flat, Array, Clock | None, Array, Array]:
    """The problem in the solver's time: field, times, clock, gaps, and a status that says if it can't be.

    Times are NaN if it can't be.
    """
    if jumps is None:
        return flat, ts, None, jnp.zeros((2, 0), ts.dtype), status
    clock, gaps, usable = make_clock(jumps, ts)
    status = jnp.where((status == Status.DONE) & ~usable, Status.JUMPS, status)
    n = len(flat.leaves)

    def field(s: Array, y: Array, leaves: Sequence[Any]) -> Array:
        t, rate = Clock(*leaves[n:]).rate(s)
        return rate * flat.field(t, y, leaves[:n])

    timed = flat._replace(field=field, leaves=[*flat.leaves, *clock])
    return timed, jnp.where(usable, clock.solver(ts), jnp.nan), clock, gaps, status


def passed(gaps: Array, begin: Array, end: Array) -> Array:
    """How many gaps lie between two of the solver's times."""
    earlier, later = jnp.minimum(begin, end), jnp.maximum(begin, end)
    return jnp.sum((jnp.min(gaps, axis=0) >= earlier) & (jnp.max(gaps, axis=0) <= later))
