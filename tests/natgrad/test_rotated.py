"""The rotated normal against dense Gaussians."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import distributions

from backthrough.natgrad import RotatedNormal

N = 40_000


def orthogonal(seed, size):
    return jnp.linalg.qr(jax.random.normal(jax.random.key(seed), (size, size)))[0]


CASES = {
    "both": RotatedNormal(
        jnp.arange(6.0).reshape(2, 3) / 5,
        jnp.array([[0.5, 1.0, 2.0], [0.1, 3.0, 0.2]]),
        orthogonal(0, 2),
        orthogonal(1, 3),
    ),
    "row": RotatedNormal(jnp.ones((1, 4)), jnp.array([[0.5, 1.0, 2.0, 0.1]]), right=orthogonal(2, 4)),
    "neither": RotatedNormal(jnp.ones((2, 2)), jnp.array([[0.5, 1.0], [2.0, 0.1]])),
}


@pytest.mark.parametrize("name", CASES)
def test_density_and_divergence_are_those_of_the_dense_gaussian(name):
    own = CASES[name]
    precision = np.asarray(own.precision(), np.float64)
    mean = np.asarray(own.mean, np.float64).ravel()
    value = mean + np.linspace(-1, 1, mean.size)
    dense = distributions.MultivariateNormal(mean, precision_matrix=precision)
    np.testing.assert_allclose(
        own.log_prob(jnp.asarray(value.reshape(own.mean.shape), own.mean.dtype)),
        dense.log_prob(value),
        rtol=2e-5,
    )
    prior_var = 0.7
    covariance = np.linalg.inv(precision)
    kl = 0.5 * (
        np.trace(covariance) / prior_var
        + mean @ mean / prior_var
        - mean.size
        + mean.size * np.log(prior_var)
        - np.linalg.slogdet(covariance)[1]
    )
    np.testing.assert_allclose(own.kl(prior_var), kl, rtol=1e-5)
    np.testing.assert_allclose(own.marginal_variance().ravel(), np.diag(covariance), rtol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_draws_have_the_mean_and_covariance(name):
    """Each entry within 6.5 standard errors: with 60 entries a false alarm of 5e-9."""
    own = CASES[name]
    draws = jax.vmap(lambda key: own.sample(key=key))(jax.random.split(jax.random.key(5), N)).reshape(N, -1)
    covariance = np.linalg.inv(np.asarray(own.precision(), np.float64))
    scale = np.sqrt(np.diag(covariance))
    assert np.all(np.abs(draws.mean(0) - own.mean.ravel()) < 6.5 * scale / N**0.5)
    spread = np.sqrt((np.outer(scale, scale) ** 2 + covariance**2) / N)
    assert np.all(np.abs(np.cov(draws.T) - covariance) < 6.5 * spread)


def test_with_kronecker_factors_the_covariance_is_their_product():
    """Cov(vec W) = U (x) V, rows of W (inputs) first."""
    u_values, v_values = jnp.array([0.5, 2.0]), jnp.array([1.0, 3.0, 0.2])
    left, right = orthogonal(3, 2), orthogonal(4, 3)
    own = RotatedNormal(jnp.zeros((2, 3)), u_values[:, None] * v_values, left, right)
    u, v = (left * u_values) @ left.T, (right * v_values) @ right.T
    np.testing.assert_allclose(jnp.linalg.inv(own.precision()), jnp.kron(u, v), atol=1e-5)
