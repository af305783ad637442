"""The ways to a gradient, named for what they are."""

import equinox as eqx


class Discrete(eqx.Module):
    """The exact gradient of the numerical solution, from its accepted steps; the default.

    Discretise, then optimise: every accepted step is pulled back by one vector-Jacobian product, with its
    size held constant (Zhuang et al. 2020). Rejected steps cost nothing.

    Attributes:
        memory: Bytes that stored states may take; what does not fit is computed again from checkpoints.
            None for 8 MiB, or more where the square root of `max_steps` needs it.
    """

    memory: float | None = eqx.field(static=True, default=None)


class Unrolled(eqx.Module):
    """Ordinary differentiation through the steps, of any order and in both modes.

    For a fixed-step solver it costs what a `lax.scan` costs. For an adaptive solver the steps are found
    first and `max_steps` steps are differentiated, most of them empty: keep `max_steps` small.
    """
