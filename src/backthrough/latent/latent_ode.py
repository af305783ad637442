"""The latent ODE: a series whose hidden state follows an ODE from a latent first state."""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from backthrough.core import ArgumentError, PRNGKey, PyTree, Scalar, check_integer
from backthrough.latent.gaussian import HALF_LOG_2PI, standard_normal_log_prob
from backthrough.latent.observations import Observations
from backthrough.ode import Discrete, Dopri5, odeint

Vector = Float[Array, "_"]


class LatentODE(eqx.Module):
    """p(z0) = N(0, I), dz/dt = field(t, z, None) from z(t0) = z0, and data that depend on z at their times.

    Chen et al. 2018, section 5. Values are Gaussian about `decoder(z)`. With `log_intensity` the times are
    modelled too: channel c is observed with the rate exp(log_intensity(z)[c]), so the likelihood has the
    factor of a Poisson process over t0 to the last time, sum log rate - integral of the rate (section 5.1);
    the integral is one more state of the ODE. A last time with nothing observed says how long was watched.

    Attributes:
        field: The vector field on z, as for `odeint`.
        decoder: From z to the mean of each channel; None if only the times are modelled.
        log_scale: Log standard deviations of the channels, or one for all.
        log_intensity: From z to the log rate of each channel; None if the times are given.
        latent_size: Length of z.
        t0: The time of z0, no later than any observation.
        solver: Any solver of `backthrough.ode`.
        adjoint: Where gradients come from.
    """

    field: Callable[..., Vector]
    decoder: Callable[[Vector], Vector] | None
    log_scale: Float[Array, "*channel"]
    log_intensity: Callable[[Vector], Vector] | None
    latent_size: int = eqx.field(static=True)
    t0: float = eqx.field(static=True)
    solver: Any
    adjoint: Any

    def __init__(
        self,
        field: Any,
        decoder: Any = None,
        *,
        latent_size: int,
        log_scale: Float[Array, "*channel"] | float = -1.0,
        log_intensity: Any = None,
        t0: float = 0.0,
        solver: Any = None,
        adjoint: Any = None,
    ):
        if decoder is None and log_intensity is None:
            raise ArgumentError("a LatentODE needs a decoder for values, a log_intensity for times, or both")
        for name, part in (("field", field), ("decoder", decoder), ("log_intensity", log_intensity)):
            if not (callable(part) or (part is None and name != "field")):
                raise ArgumentError(f"{name} must be callable, got {part!r}")
        if not math.isfinite(t0):
            raise ArgumentError(f"t0 must be finite, got {t0}")
        self.field, self.decoder, self.log_intensity = field, decoder, log_intensity
        self.log_scale = jnp.asarray(log_scale, jnp.result_type(float))
        self.latent_size = check_integer("latent_size", latent_size, minimum=1)
        self.t0 = float(t0)
        self.solver = Dopri5(rtol=1e-3, atol=1e-4) if solver is None else solver
        self.adjoint = Discrete() if adjoint is None else adjoint

    def log_prior(self, z: Float[Array, "latent"]) -> Scalar:
        """log N(z0; 0, I)."""
        return standard_normal_log_prob(z)

    def sample_prior(self, *, key: PRNGKey) -> Float[Array, "latent"]:
        """One z0 from N(0, I)."""
        return jax.random.normal(key, (self.latent_size,))

    def log_likelihood(self, x: Observations, z: Float[Array, "latent"]) -> Scalar:
        """log p(x | z0) of one series; only what was observed counts."""
        mask = jnp.asarray(x.mask)
        total = jnp.zeros((), z.dtype)
        if self.log_intensity is None:
            path = self.path(z, x.times)
        else:
            path, expected = self._path_and_expected(z, x.times)
            log_rates = jax.vmap(self.log_intensity)(path)
            _check_channels("log_intensity", log_rates, mask)
            total += jnp.sum(jnp.where(mask, log_rates, 0.0)) - expected
        if self.decoder is not None:
            means = jax.vmap(self.decoder)(path)
            _check_channels("decoder", means, mask)
            values = jnp.where(mask, x.values, means)  # before any arithmetic: a NaN would spoil gradients
            log_scale = jnp.broadcast_to(self.log_scale, means.shape)
            squares = jnp.square((values - means) * jnp.exp(-log_scale))
            total -= jnp.sum(jnp.where(mask, 0.5 * squares + log_scale + HALF_LOG_2PI, 0.0))
        return total

    def path(
        self, z: Float[Array, "latent"], times: Float[Array | np.ndarray, "time"]
    ) -> Float[Array, "time latent"]:
        """z(t) at increasing times from t0 on."""
        return _solve(self, self.field, z, times, None)[1:]

    def means(
        self, z: Float[Array, "latent"], times: Float[Array | np.ndarray, "time"]
    ) -> Float[Array, "time channel"]:
        """The mean of every channel at increasing times from t0 on."""
        if self.decoder is None:
            raise ArgumentError("this LatentODE has no decoder: it models times, not values")
        return jax.vmap(self.decoder)(self.path(z, times))

    def _path_and_expected(self, z: Array, times: Any) -> tuple[Array, Scalar]:
        """z(t) at the times, and the expected number of observations up to the last one."""

        def both(t: Scalar, state: tuple[Array, Scalar], args: Any) -> tuple[Array, Scalar]:
            field, log_intensity = args
            return field(t, state[0], None), jnp.sum(jnp.exp(log_intensity(state[0])))

        start = (z, jnp.zeros((), z.dtype))
        args = (self.field, self.log_intensity)
        path, expected = _solve(self, both, start, times, args)
        return path[1:], expected[-1]


@eqx.filter_jit  # so that times may repeat: an observation at t0, and padding
def _solve(model: LatentODE, field: Callable, start: PyTree, times: Any, args: PyTree) -> PyTree:
    """The state at t0 and at all times."""
    times = jnp.asarray(times, jax.tree_util.tree_leaves(start)[0].dtype)
    grid = jnp.concatenate([jnp.full(1, model.t0, times.dtype), times])
    return odeint(field, start, grid, args, solver=model.solver, adjoint=model.adjoint).ys


def _check_channels(name: str, rows: Array, mask: Array) -> None:
    if rows.shape != mask.shape:
        raise ArgumentError(
            f"the {name} makes {rows.shape[1:]} numbers a time, the series has {mask.shape[1:]}"
        )
