"""What a solve returns, and how it fails."""

import enum
from typing import NamedTuple

from jaxtyping import Array, Float, Int, PyTree

from backthrough.core import BackthroughError


class Status(enum.IntEnum):
    """Why a solve has stopped."""

    DONE = 0
    MAX_STEPS = 1
    STEP_UNDERFLOW = 2
    NOT_FINITE = 3

    @property
    def meaning(self) -> str:
        """A sentence with the cure."""
        return _MEANINGS[self]


_MEANINGS = {
    Status.DONE: "reached the last time",
    Status.MAX_STEPS: "max_steps were not enough: raise max_steps, loosen the tolerances, or use a stiff "
    "solver through ode.blackbox",
    Status.STEP_UNDERFLOW: "the step size fell below what the time can resolve: the solution may blow up "
    "there, the tolerances may be too tight for its precision, or the problem may be stiff",
    Status.NOT_FINITE: "the field returned values that are not finite, however small the step",
}


class Stats(NamedTuple):
    """What a solve has cost.

    Attributes:
        evaluations: Of the field, in the forward pass.
        backward_evaluations: Vector-Jacobian products of the field in the backward pass of `Discrete`.
        accepted: Steps accepted.
        rejected: Steps rejected.
        t_reached: The last time that was reached.
    """

    evaluations: Int[Array, "*batch"]
    backward_evaluations: Int[Array, "*batch"]
    accepted: Int[Array, "*batch"]
    rejected: Int[Array, "*batch"]
    t_reached: Float[Array, "*batch"]


class Solution(NamedTuple):
    """The states at the times that were asked for.

    Attributes:
        ts: The times, shape (times,).
        ys: The states, with a leading axis of times; NaN from where the solve failed, if it did.
        stats: Costs.
        status: A `Status`, as an integer.
    """

    ts: Float[Array, "*batch times"]
    ys: PyTree[Array]
    stats: Stats
    status: Int[Array, "*batch"]


class SolveError(BackthroughError, ArithmeticError):
    """A solve did not reach its last time.

    Attributes:
        status: Why.
        t: The time that was reached.
    """

    def __init__(self, message: str, *, status: Status, t: float):
        super().__init__(message)
        self.status = status
        self.t = t
