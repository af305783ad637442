"""What a solve returns, and how it fails."""

import enum
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int, PyTree

from backthrough.core import BackthroughError


class Status(enum.IntEnum):
    """Why a solve has stopped."""

    DONE = 0
    MAX_STEPS = 1
    STEP_UNDERFLOW = 2
    NOT_FINITE = 3
    NO_EVENT = 4
    EVENT_AT_START = 5
    EVENT_NOT_FINITE = 6
    TIMES = 7
    TOLERANCES = 8
    JUMPS = 9

    @property
    def meaning(self) -> str:
        """A sentence with the cure."""
        return _MEANINGS[self]


_MEANINGS = {
    Status.DONE: "reached the last time",
    Status.MAX_STEPS: "max_steps were not enough: raise max_steps, loosen the tolerances, or use "
    "Rodas5P() if the problem is stiff",
    Status.STEP_UNDERFLOW: "the step size fell below what the time can resolve: the solution may blow up "
    "there, the tolerances may be too tight for its precision, or the problem may be stiff (see Rodas5P)",
    Status.NOT_FINITE: "the field returned values that are not finite, however small the step; or y0 is not "
    "finite",
    Status.NO_EVENT: "the event has not happened by the last time: give a later one, or look at its sign and "
    "direction",
    Status.EVENT_AT_START: "the event function is zero at the first time: to solve from there to the next "
    "event, give direction=1 (rising) or direction=-1 (falling)",
    Status.EVENT_NOT_FINITE: "the event function returned values that are not finite before it happened",
    Status.TIMES: "ts must be finite, and run forwards or backwards without turning round; a mask must be "
    "true for the first times, at least two, and then false",
    Status.TOLERANCES: "rtol and atol must be finite and greater than zero, rtol not below four units of "
    "the last digit, and dtmax greater than zero",
    Status.JUMPS: "jump_ts must not be nan, and two that differ must not be closer than a dozen units "
    "of the last digit of the largest time: give them in double precision",
}


class Stats(NamedTuple):
    """What a solve has cost.

    Attributes:
        evaluations: Of the field, in the forward pass.
        backward_evaluations: Vector-Jacobian products of the field in the backward pass of `Discrete`; -1
            where they are known only when it is over: the `counter` of the continuous adjoints is told.
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


def raise_unless_done(result: PyTree, status: Array, reached: Array) -> PyTree:
    """`result`, or an error if the solve that it comes from has failed."""
    if not isinstance(status, Tracer):
        why = Status(int(status))
        if why != Status.DONE:
            t = float(np.asarray(reached))
            raise SolveError(f"the solve stopped at t = {t:.6g}: {why.meaning}", status=why, t=t)
        return result
    failures = [why for why in Status if why != Status.DONE]
    return eqx.branched_error_if(
        result,
        status != Status.DONE,
        jnp.maximum(status - 1, 0),
        [f"the solve stopped early: {why.meaning}" for why in failures],
    )
