"""p(z) = N(0, I), p(x | z) = N(W z, s2 I): everything about it has a closed form."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import multivariate_normal

LATENT, DATA, VARIANCE = 4, 8, 0.25
WEIGHT = np.array([[((7 * i + 3 * j) % 11 - 5) / 5 for j in range(LATENT)] for i in range(DATA)])
X = np.array([((5 * i) % 7 - 3) / 2 for i in range(DATA)])
PRECISION = np.eye(LATENT) + WEIGHT.T @ WEIGHT / VARIANCE
POSTERIOR_MEAN = np.linalg.solve(PRECISION, WEIGHT.T @ X / VARIANCE)
LOG_P = multivariate_normal.logpdf(X, np.zeros(DATA), WEIGHT @ WEIGHT.T + VARIANCE * np.eye(DATA))


class LinearGaussian(eqx.Module):
    """The model for the library's protocols; nothing of it is imported from the library."""

    weight: jax.Array

    def log_prior(self, z):
        return jax.scipy.stats.norm.logpdf(z).sum()

    def log_likelihood(self, x, z):
        return jax.scipy.stats.norm.logpdf(x, self.weight @ z, jnp.sqrt(VARIANCE)).sum()

    def sample_prior(self, *, key):
        return jax.random.normal(key, self.weight.shape[1:])

    def sample_x(self, z, *, key):
        return self.weight @ z + jnp.sqrt(VARIANCE) * jax.random.normal(key, self.weight.shape[:1])


def exact_elbo(mean: np.ndarray, scale: np.ndarray) -> float:
    """log p(x) - KL(N(mean, diag(scale**2)) || posterior)."""
    _, log_determinant = np.linalg.slogdet(PRECISION)
    difference = mean - POSTERIOR_MEAN
    divergence = 0.5 * (
        (np.diag(PRECISION) * scale**2).sum()
        + difference @ PRECISION @ difference
        - LATENT
        - log_determinant
        - 2 * np.log(scale).sum()
    )
    return LOG_P - divergence


def exact_log_p(x: np.ndarray) -> np.ndarray:
    """log p(x) of each row."""
    covariance = WEIGHT @ WEIGHT.T + VARIANCE * np.eye(DATA)
    return multivariate_normal.logpdf(x, np.zeros(DATA), covariance)
