"""Encoders that read an irregular series backwards in time: a GRU, and an ODE-RNN."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from backthrough.core import ArgumentError, PRNGKey, Scalar, check_integer
from backthrough.latent.gaussian import FactorisedGaussian
from backthrough.latent.observations import Observations
from backthrough.ode import RK4, Unrolled, odeint


class RecurrentEncoder(eqx.Module):
    """q(z0 | x): a GRU over the observations, from the last to the first, and a Gaussian from its state.

    Each update sees the values (0 where there are none), the mask, the time since t0, and the time to the
    observation before. Without `field` this is the RNN encoder of Chen et al. 2018; with it the state follows
    dh/dt = field(t, h, None) backwards between observations and down to t0, the ODE-RNN of Rubanova et al.
    2019, algorithm 1. Times at which nothing was observed change nothing.

    Attributes:
        cell: The update at an observation.
        head: From the last state to means and log standard deviations.
        field: The vector field between observations, called as field(t, h, None); or None.
        solver: Fixed steps, from one observation to the next.
        t0: The time of z0.
    """

    cell: eqx.nn.GRUCell
    head: eqx.nn.MLP
    field: Any
    solver: Any
    t0: float = eqx.field(static=True)

    def __init__(
        self,
        n_channels: int,
        latent_size: int,
        *,
        hidden_size: int = 25,
        field: Any = None,
        solver: Any = None,
        t0: float = 0.0,
        key: PRNGKey,
    ):
        check_integer("n_channels", n_channels, minimum=1)
        check_integer("latent_size", latent_size, minimum=1)
        check_integer("hidden_size", hidden_size, minimum=1)
        if field is not None and not callable(field):
            raise ArgumentError(f"field must be callable as field(t, h, args), got {field!r}")
        cell_key, head_key = jax.random.split(key)
        self.cell = eqx.nn.GRUCell(2 * n_channels + 2, hidden_size, key=cell_key)
        self.head = eqx.nn.MLP(hidden_size, 2 * latent_size, hidden_size, 1, jnp.tanh, key=head_key)
        self.field = field
        self.solver = RK4(1) if solver is None else solver
        self.t0 = t0

    def __call__(self, x: Observations) -> FactorisedGaussian:
        """q(z0 | x) of one series."""
        mean, log_scale = jnp.split(self.head(self.summary(x)), 2)
        return FactorisedGaussian(mean, log_scale)

    def summary(self, x: Observations) -> Float[Array, "hidden"]:
        """The state at t0, after all observations."""
        mask = jnp.asarray(x.mask)
        n_channels = (self.cell.input_size - 2) // 2
        if mask.ndim != 2 or mask.shape[1] != n_channels:
            raise ArgumentError(
                f"the encoder takes one series of {n_channels} channels, got a mask of shape {mask.shape}; "
                "use jax.vmap for a batch"
            )
        values = jnp.where(mask, x.values, 0.0).astype(self.cell.weight_ih.dtype)
        times = jnp.asarray(x.times, values.dtype)

        def update(carry: tuple, row: tuple) -> tuple[tuple, None]:
            state, at, begun = carry
            t, own, seen = row
            before = jnp.where(begun, at, t)
            inputs = jnp.concatenate([own, seen, jnp.stack([t - self.t0, before - t])])
            new = self.cell(inputs, self._evolve(state, before, t))
            some = jnp.any(seen > 0)
            return (jnp.where(some, new, state), jnp.where(some, t, at), begun | some), None

        nothing = (jnp.zeros(self.cell.hidden_size, values.dtype), times[-1], jnp.asarray(False))
        rows = (times, values, mask.astype(values.dtype))
        (state, first, _), _ = jax.lax.scan(update, nothing, rows, reverse=True)
        return self._evolve(state, first, jnp.asarray(self.t0, values.dtype))

    def _evolve(self, state: Array, start: Scalar, end: Scalar) -> Array:
        """The state carried from one time back to another."""
        if self.field is None:
            return state
        return _evolved(self.field, state, jnp.stack([start, end]), self.solver)


@eqx.filter_jit  # so that both times may be the same
def _evolved(field: Callable, state: Array, ts: Array, solver: Any) -> Array:
    return odeint(field, state, ts, solver=solver, adjoint=Unrolled()).ys[-1]
