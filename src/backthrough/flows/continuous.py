"""The continuous normalising flow: a bijection that is the solution of an ODE (Chen et al. 2018, sec. 4)."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from backthrough.core import ArgumentError, PRNGKey, PyTree, Scalar, check_positive
from backthrough.flows.bijection import Bijection, Condition, Point
from backthrough.flows.fields import VectorField
from backthrough.flows.trace import ExactTrace, Hutchinson, Trace
from backthrough.ode import Dopri5, odeint


class ContinuousFlow(Bijection):
    """y = x(t1), where dx/dt = field(t, x, condition) from x(0) = x.

    log |det dy/dx| is the integral of the field's divergence, an ODE too (Chen et al. 2018, theorem 1). A
    field with a closed form of it is asked for that; for the others it is found as `trace` says. Any field
    that is Lipschitz makes a bijection; the inverse is the solve backwards in time.

    Attributes:
        field: dx/dt, a `VectorField`; an Equinox module if it is to be trained.
        trace: How divergences are found where no closed form is.
        solver: Any solver of `backthrough.ode`.
        adjoint: Where gradients come from; None for `Discrete`, or with a black box, which brings its own.
        t1: Length of the time.
    """

    field: VectorField
    trace: Trace
    solver: Any
    adjoint: Any
    t1: float = eqx.field(static=True)

    def __init__(
        self,
        field: Any,
        *,
        trace: Trace | None = None,
        solver: Any = None,
        adjoint: Any = None,
        t1: float = 1.0,
    ):
        self.field = field
        if not callable(self.field):
            raise ArgumentError(f"field must be callable as field(t, x, condition), got {field!r}")
        self.trace = ExactTrace() if trace is None else trace
        if not isinstance(self.trace, Trace):
            raise ArgumentError(f"trace must be ExactTrace() or Hutchinson(), got {trace!r}")
        self.solver = Dopri5() if solver is None else solver
        self.adjoint = adjoint
        self.t1 = check_positive("t1", t1)

    def transform_and_log_det(
        self, x: Point, condition: Condition = None, *, key: PRNGKey | None = None
    ) -> tuple[Point, Scalar]:
        """y = x(t1) and log |det dy/dx|."""
        return self._solve(x, condition, (0.0, self.t1), key)

    def inverse_and_log_det(
        self, y: Point, condition: Condition = None, *, key: PRNGKey | None = None
    ) -> tuple[Point, Scalar]:
        """x(0) and log |det dx/dy|."""
        return self._solve(y, condition, (self.t1, 0.0), key)

    def _solve(
        self, x: Point, condition: Condition, span: tuple[float, float], key: PRNGKey | None
    ) -> tuple[Point, Scalar]:
        if x.ndim != 1:
            raise ArgumentError(f"a flow takes one point of shape (size,), got {x.shape}; use jax.vmap")
        closed = hasattr(self.field, "with_divergence")
        noise = None if closed else self.trace.draw(x, key=key)

        def both(t: Scalar, state: tuple[Point, Scalar], args: Any) -> tuple[Point, Scalar]:
            field, condition, noise = args
            if closed:
                return field.with_divergence(t, state[0], condition)
            return self.trace(lambda x: field(t, x, condition), state[0], noise)

        ts = jnp.asarray(span, x.dtype)
        zero = jnp.zeros((), x.dtype)
        args = (self.field, condition, noise)
        found = odeint(both, (x, zero), ts, args, solver=self.solver, adjoint=self.adjoint)
        end, log_det = jax.tree_util.tree_map(lambda leaf: leaf[-1], found.ys)
        return end, log_det


def has_estimated_log_det(tree: PyTree) -> bool:
    """Whether a continuous flow somewhere in a pytree finds log |det| with noise.

    A density is then unbiased in its logarithm only.
    """
    nodes = jax.tree_util.tree_leaves(tree, is_leaf=lambda node: isinstance(node, ContinuousFlow))
    flows = [node for node in nodes if isinstance(node, ContinuousFlow)]
    return any(isinstance(f.trace, Hutchinson) and not hasattr(f.field, "with_divergence") for f in flows)
