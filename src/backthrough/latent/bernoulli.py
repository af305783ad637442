"""Binary data generated from a standard normal latent vector."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from backthrough.core import ArgumentError, PRNGKey, Scalar, check_binary
from backthrough.latent.gaussian import standard_normal_log_prob


class BernoulliModel(eqx.Module):
    """p(z) = N(0, I) and p(x | z) = product of Bernoulli(x_i; logits = decoder(z)_i), for one example.

    Attributes:
        decoder: Maps z, shape (latent,), to logits, shape (data,).
        latent_size: Length of z.
    """

    decoder: Callable[[Float[Array, "latent"]], Float[Array, "data"]]
    latent_size: int = eqx.field(static=True)

    def log_prior(self, z: Float[Array, "latent"]) -> Scalar:
        """log N(z; 0, I)."""
        return standard_normal_log_prob(z)

    def log_likelihood(self, x: Float[Array, "..."], z: Float[Array, "latent"]) -> Scalar:
        """log p(x | z) = sum_i x_i l_i - softplus(l_i), exact for logits of any size. x is 0 or 1."""
        logits = self.decoder(z)
        if x.size != logits.size:
            raise ArgumentError(f"the decoder makes {logits.size} logits and the example has shape {x.shape}")
        return jnp.sum(x.reshape(-1) * logits - jax.nn.softplus(logits))

    def check_data(self, x: Shaped[np.ndarray, "example ..."] | Shaped[Array, "example ..."]) -> None:
        """Refuses data, on the host, that has no likelihood here.

        Raises:
            DataError: naming the first entry that is neither 0 nor 1.
        """
        check_binary("x", np.asarray(x))

    def sample_prior(self, *, key: PRNGKey) -> Float[Array, "latent"]:
        """One z from N(0, I)."""
        return jax.random.normal(key, (self.latent_size,))

    def mean(self, z: Float[Array, "latent"]) -> Float[Array, "data"]:
        """E[x | z], the probabilities."""
        return jax.nn.sigmoid(self.decoder(z))

    def sample_x(self, z: Float[Array, "latent"], *, key: PRNGKey) -> Float[Array, "data"]:
        """One x of zeros and ones from p(x | z)."""
        probabilities = self.mean(z)
        return jax.random.bernoulli(key, probabilities).astype(probabilities.dtype)
