"""From an adjoint, as the caller names it, to the method behind it."""

from typing import TypeAlias

from backthrough.ode.adjoints import Backsolve, Continuous, Discrete, Interpolated, Unrolled
from backthrough.ode.continuous import backsolve, continuous, interpolated
from backthrough.ode.differentiate import Method
from backthrough.ode.discrete import DISCRETE

Stored: TypeAlias = Discrete | Continuous | Interpolated | Backsolve
Adjoint: TypeAlias = Stored | Unrolled


def method_of(adjoint: Stored) -> Method:
    """How the adjoint records a solve, and pulls cotangents back through it."""
    if isinstance(adjoint, Discrete):
        return DISCRETE
    if isinstance(adjoint, Continuous):
        return continuous(adjoint)
    return backsolve(adjoint) if isinstance(adjoint, Backsolve) else interpolated(adjoint)
