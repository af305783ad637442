"""An ODE as a layer of a network (Chen et al. 2018, section 3)."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from backthrough.core import ArgumentError, PRNGKey, PyTree, check_integer, check_positive
from backthrough.ode.odeint import odeint
from backthrough.ode.solution import Solution
from backthrough.ode.solvers import Dopri5


class ODEBlock(eqx.Module):
    """A layer that maps one example x to y(t1), where dy/dt = field(t, y, None) and y(0) = x.

    Under `jax.vmap` every example has steps of its own, so a hard example costs more than an easy one.

    Attributes:
        field: The vector field, as for `odeint`; an Equinox module if it is to be trained.
        solver: Any solver of `backthrough.ode`.
        adjoint: Where gradients come from; None for the black boxes, which bring their own.
        t1: Length of the time.
        max_steps: The most steps that an adaptive solver may try.

    Raises:
        ArgumentError: if the field cannot be called, `t1` is not positive or `max_steps` is below 1.

    Examples:
        >>> import equinox as eqx, jax, jax.numpy as jnp
        >>> layer = ODEBlock(lambda t, y, _: -y)
        >>> bool(jnp.allclose(layer(jnp.ones(3)), jnp.exp(-1.0), atol=1e-4))
        True
    """

    field: Callable[..., PyTree]
    solver: Any
    adjoint: Any
    t1: float = eqx.field(static=True)
    max_steps: int = eqx.field(static=True)

    def __init__(
        self,
        field: Any,
        *,
        solver: Any = None,
        adjoint: Any = None,
        t1: float = 1.0,
        max_steps: int = 4096,
    ):
        if not callable(field):
            raise ArgumentError(f"field must be callable as field(t, y, args), got {field!r}")
        self.field = field
        self.solver = Dopri5() if solver is None else solver
        self.adjoint = adjoint
        self.t1 = check_positive("t1", t1)
        self.max_steps = check_integer("max_steps", max_steps, minimum=1)

    def __call__(self, x: PyTree, *, key: PRNGKey | None = None) -> PyTree:
        """y(t1) of one example; `key` is what Equinox gives every layer, and is not used."""
        return jax.tree_util.tree_map(lambda leaf: leaf[-1], self.solve(x).ys)

    def solve(self, x: PyTree) -> Solution:
        """The whole solution, with what it cost."""
        dtype = jnp.result_type(*(jnp.real(leaf) for leaf in jax.tree_util.tree_leaves(x)))
        ts = jnp.array([0.0, self.t1], dtype)
        return odeint(self.field, x, ts, solver=self.solver, adjoint=self.adjoint, max_steps=self.max_steps)
