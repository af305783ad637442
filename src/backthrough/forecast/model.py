"""A latent ODE that continues what a recurrent network has read."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from backthrough.core import PRNGKey, Scalar
from backthrough.latent import FactorisedGaussian, LatentODE, Observations, RecurrentEncoder
from backthrough.ode import Dopri5


class Field(eqx.Module):
    """dz/dt = A z plus a network; A begins as rotations from slow to as fast as the rows can tell.

    Begun from a small network alone, a forecast of several cycles stays at the mean for thousands of steps.

    Attributes:
        matrix: A, shape (latent, latent).
        network: The rest; its outputs begin small.
    """

    matrix: Float[Array, "latent latent"]
    network: eqx.nn.MLP

    def __init__(self, size: int, width: int, *, n_rows: int, key: PRNGKey):
        pairs = size // 2
        fastest = max(2.0, n_rows * np.pi / 3)  # a cycle of six rows
        speeds = jnp.geomspace(1.0, fastest, pairs)
        first, second = jnp.arange(pairs) * 2, jnp.arange(pairs) * 2 + 1
        matrix = jnp.zeros((size, size)).at[first, second].set(speeds).at[second, first].set(-speeds)
        self.matrix = matrix
        self.network = eqx.nn.MLP(size, size, width, 2, jnp.tanh, key=key)

    def __call__(self, t: Scalar, z: Float[Array, "latent"], args: None) -> Float[Array, "latent"]:
        """dz/dt."""
        return self.matrix @ z + jnp.tanh(self.network(z))


class ContextEncoder(eqx.Module):
    """Reads the context of a window forwards, up to the moment from which is forecast.

    Time is 0 there. The encoder reads backwards, so it is given the context with its time turned round.
    """

    encoder: RecurrentEncoder
    n_context: int = eqx.field(static=True)

    def __call__(self, x: Observations) -> FactorisedGaussian:
        """q(z0 | context)."""
        times, values, mask = (leaf[: self.n_context][::-1] for leaf in x)
        return self.encoder(Observations(-times, values, mask))


class HorizonModel(eqx.Module):
    """p(z0) p(horizon | z0): a latent ODE of what comes after the context."""

    latent_ode: LatentODE
    n_context: int = eqx.field(static=True)

    def log_prior(self, z: Float[Array, "latent"]) -> Scalar:
        """log p(z0)."""
        return self.latent_ode.log_prior(z)

    def sample_prior(self, *, key: PRNGKey) -> Float[Array, "latent"]:
        """One z0."""
        return self.latent_ode.sample_prior(key=key)

    def log_likelihood(self, x: Observations, z: Float[Array, "latent"]) -> Scalar:
        """log p(horizon | z0)."""
        return self.latent_ode.log_likelihood(self.after(x), z)

    def after(self, x: Observations) -> Observations:
        """What comes after the context."""
        return Observations(*(leaf[self.n_context :] for leaf in x))


class Networks(NamedTuple):
    """What is trained."""

    model: HorizonModel
    encoder: ContextEncoder


def build_networks(
    n_channels: int,
    n_context: int,
    n_horizon: int,
    *,
    key: PRNGKey,
    latent_size: int = 16,
    hidden_size: int = 32,
    tolerance: float = 1e-3,
) -> Networks:
    """Model and encoder before training.

    Args:
        n_channels: Quantities of a series.
        n_context: Rows that the encoder reads.
        n_horizon: Rows of a typical horizon: they set the fastest rotation that the field begins with.
        key: Determines the weights.
        latent_size: Latent dimensions.
        hidden_size: Width of vector field, decoder and encoder.
        tolerance: Of the solver, relative and absolute.
    """
    field_key, decoder_key, encoder_key = jax.random.split(key, 3)
    field = Field(latent_size, hidden_size, n_rows=n_horizon, key=field_key)
    decoder = eqx.nn.MLP(latent_size, n_channels, hidden_size, 1, jnp.tanh, key=decoder_key)
    solver = Dopri5(rtol=tolerance, atol=tolerance)
    log_scale = jnp.full(n_channels, -1.0)
    model = LatentODE(field, decoder, latent_size=latent_size, log_scale=log_scale, solver=solver)
    encoder = RecurrentEncoder(n_channels, latent_size, hidden_size=hidden_size, key=encoder_key)
    return Networks(HorizonModel(model, n_context), ContextEncoder(encoder, n_context))
