"""The fully factorised Gaussian posterior and the encoder that predicts it."""

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from backthrough.core import ArgumentError, PRNGKey, Scalar

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def standard_normal_log_prob(z: Float[Array, "latent"]) -> Scalar:
    """log N(z; 0, I), summed over the latent axis."""
    return -0.5 * jnp.sum(jnp.square(z)) - HALF_LOG_2PI * z.size


class FactorisedGaussian(eqx.Module):
    """N(mean, diag(exp(log_scale))**2), a posterior for one example.

    Attributes:
        mean: Shape (latent,).
        log_scale: Log standard deviations, shape (latent,).
    """

    mean: Float[Array, "latent"]
    log_scale: Float[Array, "latent"]

    def sample_and_log_prob(self, *, key: PRNGKey) -> tuple[Float[Array, "latent"], Scalar]:
        """One reparameterised draw z = mean + scale * noise and log q(z) (Kingma and Welling 2014, sec. 2.4).

        The density is computed from the noise, so it stays exact however small the scale is.
        """
        noise = jax.random.normal(key, self.mean.shape, self.mean.dtype)
        z = self.mean + jnp.exp(self.log_scale) * noise
        return z, standard_normal_log_prob(noise) - jnp.sum(self.log_scale)

    def log_prob(self, z: Float[Array, "latent"]) -> Scalar:
        """log q(z) at any z."""
        noise = (z - self.mean) * jnp.exp(-self.log_scale)
        return standard_normal_log_prob(noise) - jnp.sum(self.log_scale)

    def kl_from_standard_normal(self) -> Float[Array, "latent"]:
        """KL(q || N(0, 1)) of every coordinate (Kingma and Welling 2014, app. B)."""
        variance = jnp.exp(2 * self.log_scale)
        return 0.5 * (variance + jnp.square(self.mean) - 1) - self.log_scale


class GaussianEncoder(eqx.Module):
    """Maps one example to a `FactorisedGaussian` through a network.

    Attributes:
        network: Maps the flattened, centred example to (2 * latent,): means, then log standard deviations.
        data_mean: Subtracted from the example first, shape (data,).
    """

    network: Callable[[Float[Array, "data"]], Float[Array, "twice_latent"]]
    data_mean: Float[Array, "data"]

    def __call__(self, x: Float[Array, "..."]) -> FactorisedGaussian:
        """q(z | x)."""
        if x.size != self.data_mean.size:
            raise ArgumentError(
                f"the encoder takes examples of {self.data_mean.size} entries, got one of shape {x.shape}; "
                "batches have a leading axis of examples"
            )
        mean, log_scale = jnp.split(self.network(x.reshape(-1) - self.data_mean), 2)
        return FactorisedGaussian(mean, log_scale)
