"""The ways to a gradient, named for what they are."""

from collections.abc import Callable

import equinox as eqx

Counter = Callable[[int], object]
"""Is called after a backward solve with its vector-Jacobian products of the field, one for every stage tried.

Lanes are solved together and make as many each: one call says how many. Forward solves that are repeated
between checkpoints are not among them. Calls come in their own time; `jax.effects_barrier()` waits for them.
"""


class Discrete(eqx.Module):
    """The exact gradient of the numerical solution, from its accepted steps; the default.

    Discretise, then optimise: every accepted step is pulled back by one vector-Jacobian product, with its
    size held constant (Zhuang et al. 2020). Rejected steps cost nothing.

    Attributes:
        memory: Bytes that stored states may take; what does not fit is computed again from checkpoints.
            None for 8 MiB, or more where the square root of `max_steps` needs it.
    """

    memory: float | None = eqx.field(static=True, default=None)


class Continuous(eqx.Module):
    """The adjoint equation solved backwards, with the state from a fixed number of checkpoints.

    Optimise, then discretise (Chen et al. 2018, eq. 4): the error of the gradient is that of a second solve
    with the solver's `rtol`. Between two checkpoints the forward solve is repeated, so the gradient is right
    wherever the forward solve is, and memory does not depend on the number of steps.

    Attributes:
        checkpoints: How many; None for 64, or fewer (at least 8) for states of megabytes.
        counter: Told what a backward solve has cost; see `Counter`.
    """

    checkpoints: int | None = eqx.field(static=True, default=None)
    counter: Counter | None = eqx.field(static=True, default=None)


class Interpolated(eqx.Module):
    """The adjoint equation solved backwards, with the state from all steps of the forward solve.

    Nothing is solved twice; memory grows with `max_steps`.

    Attributes:
        counter: Told what a backward solve has cost; see `Counter`.
    """

    counter: Counter | None = eqx.field(static=True, default=None)


class Backsolve(eqx.Module):
    """The adjoint equation and the state solved backwards together; memory does not depend on steps.

    Algorithm 1 of Chen et al. 2018, but for the parameters, whose gradient is no part of the state. It can
    only work where the problem can be integrated backwards; at every save time, and at the beginning, the
    state that came back is compared with the one that the forward solve found there.

    Attributes:
        drift: How far they may differ, in tolerances (root mean square), before it is an error.
        counter: Told what a backward solve has cost; see `Counter`.
    """

    drift: float = eqx.field(static=True, default=1e3)
    counter: Counter | None = eqx.field(static=True, default=None)


class Unrolled(eqx.Module):
    """Ordinary differentiation through the steps, of any order and in both modes.

    For a fixed-step solver it costs what a `lax.scan` costs. For an adaptive solver the steps are found
    first and `max_steps` steps are differentiated, most of them empty: keep `max_steps` small.
    """
