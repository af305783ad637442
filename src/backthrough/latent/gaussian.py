"""Gaussian posteriors, fully factorised or with any covariance, and the encoders that predict them."""

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

    def __check_init__(self) -> None:
        if jnp.shape(self.mean) != jnp.shape(self.log_scale):  # broadcasting would miscount the density
            raise ArgumentError(
                f"mean and log_scale of FactorisedGaussian need one shape, got {jnp.shape(self.mean)} and "
                f"{jnp.shape(self.log_scale)}; jnp.broadcast_to makes one scale that of all"
            )

    @property
    def size(self) -> int:
        """Entries of z."""
        return self.mean.size

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


class FullGaussian(eqx.Module):
    """N(mean, L L^T) with any covariance, a posterior for one example.

    Attributes:
        mean: Shape (latent,).
        log_diagonal: Logarithms of the diagonal of L, shape (latent,).
        below: What is below the diagonal of L, shape (latent, latent); the rest of it is not used.
    """

    mean: Float[Array, "latent"]
    log_diagonal: Float[Array, "latent"]
    below: Float[Array, "latent latent"]

    def __check_init__(self) -> None:
        shapes = [jnp.shape(own) for own in (self.mean, self.log_diagonal, self.below)]
        if shapes[1] != shapes[0] or shapes[2] != shapes[0] * 2:
            raise ArgumentError(
                "FullGaussian needs mean and log_diagonal of shape (latent,) and below of shape (latent, "
                f"latent), got {', '.join(map(str, shapes))}"
            )

    @property
    def size(self) -> int:
        """Entries of z."""
        return self.mean.size

    @property
    def factor(self) -> Float[Array, "latent latent"]:
        """L, the lower triangular factor of the covariance."""
        return jnp.tril(self.below, -1) + jnp.diag(jnp.exp(self.log_diagonal))

    def sample_and_log_prob(self, *, key: PRNGKey) -> tuple[Float[Array, "latent"], Scalar]:
        """One reparameterised draw z = mean + L noise and log q(z) (Kingma and Welling 2019, sec. 2.5.1)."""
        noise = jax.random.normal(key, self.mean.shape, self.mean.dtype)
        return self.mean + self.factor @ noise, standard_normal_log_prob(noise) - jnp.sum(self.log_diagonal)

    def log_prob(self, z: Float[Array, "latent"]) -> Scalar:
        """log q(z) at any z."""
        noise = jax.scipy.linalg.solve_triangular(self.factor, z - self.mean, lower=True)
        return standard_normal_log_prob(noise) - jnp.sum(self.log_diagonal)


class FullGaussianEncoder(eqx.Module):
    """Maps one example to a `FullGaussian` through a network.

    Attributes:
        network: Maps the flattened, centred example to (latent * (latent + 3) / 2,): means, the logarithms of
            the diagonal of L, and the rows of L below it.
        data_mean: Subtracted from the example first, shape (data,).
    """

    network: Callable[[Float[Array, "data"]], Float[Array, "numbers"]]
    data_mean: Float[Array, "data"]

    def __call__(self, x: Float[Array, "..."]) -> FullGaussian:
        """q(z | x).

        Raises:
            ArgumentError: if the example or the network's result has another size.
        """
        numbers = self.network(centred(x, self.data_mean))
        size = (math.isqrt(9 + 8 * numbers.size) - 3) // 2
        if size < 1 or size * (size + 3) // 2 != numbers.size:
            raise ArgumentError(
                "the network of FullGaussianEncoder must return latent * (latent + 3) / 2 numbers, such as 5 "
                f"for latent = 2 or 9 for 3; got {numbers.size}"
            )
        mean, log_diagonal, rows = jnp.split(numbers, [size, 2 * size])
        below = jnp.zeros((size, size), numbers.dtype).at[jnp.tril_indices(size, -1)].set(rows)
        return FullGaussian(mean, log_diagonal, below)


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
        mean, log_scale = jnp.split(self.network(centred(x, self.data_mean)), 2)
        return FactorisedGaussian(mean, log_scale)


def centred(x: Float[Array, "..."], data_mean: Float[Array, "data"]) -> Float[Array, "data"]:
    """One example, flat, less the data's mean.

    Raises:
        ArgumentError: if it has another size.
    """
    if x.size != data_mean.size:
        raise ArgumentError(
            f"the encoder takes examples of {data_mean.size} entries, got one of shape {x.shape}; "
            "batches have a leading axis of examples"
        )
    return x.reshape(-1) - data_mean
