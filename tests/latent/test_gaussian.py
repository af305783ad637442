import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import kstest, multivariate_normal, norm

from backthrough.core import ArgumentError
from backthrough.latent import (
    ELBO,
    FactorisedGaussian,
    FullGaussian,
    FullGaussianEncoder,
    GaussianEncoder,
    bound,
)
from oracles.linear_gaussian import LOG_P, POSTERIOR_MEAN, PRECISION, WEIGHT, LinearGaussian, X

Q = FactorisedGaussian(jnp.array([0.5, -2.0, 0.0]), jnp.array([0.0, -1.0, 0.7]))
EPS = float(jnp.finfo(jnp.result_type(float)).eps)


def test_log_prob_is_scipys():
    z = jnp.array([0.1, -1.5, 3.0])
    expected = norm.logpdf(z, Q.mean, np.exp(np.asarray(Q.log_scale))).sum()
    np.testing.assert_allclose(Q.log_prob(z), expected, rtol=20 * EPS)


def test_the_density_of_a_draw_is_the_density_at_the_draw():
    keys = jax.random.split(jax.random.key(0), 100)
    z, log_q = jax.vmap(lambda key: Q.sample_and_log_prob(key=key))(keys)
    np.testing.assert_allclose(log_q, jax.vmap(Q.log_prob)(z), rtol=200 * EPS, atol=200 * EPS)


def test_the_density_of_a_draw_stays_exact_for_a_tiny_scale():
    q = FactorisedGaussian(jnp.array([1.0]), jnp.array([-40.0]))
    _, log_q = q.sample_and_log_prob(key=jax.random.key(1))
    noise = jax.random.normal(jax.random.key(1), (1,))
    np.testing.assert_allclose(log_q, norm.logpdf(noise[0]) + 40.0, rtol=20 * EPS)


def test_draws_have_the_distribution():
    """Kolmogorov-Smirnov on 20,000 draws a coordinate; false alarm below 1e-8 each."""
    keys = jax.random.split(jax.random.key(2), 20_000)
    z = jax.vmap(lambda key: Q.sample_and_log_prob(key=key)[0])(keys)
    for i in range(3):
        scale = float(jnp.exp(Q.log_scale[i]))
        assert kstest(np.asarray(z[:, i]), norm(float(Q.mean[i]), scale).cdf).pvalue > 1e-8


def test_kl_is_the_quadrature_of_its_definition():
    grid = np.linspace(-30, 30, 400_001)
    for i in range(3):
        q = norm.pdf(grid, Q.mean[i], np.exp(Q.log_scale[i]))
        log_ratio = norm.logpdf(grid, Q.mean[i], np.exp(Q.log_scale[i])) - norm.logpdf(grid)
        expected = np.trapezoid(q * log_ratio, grid)
        np.testing.assert_allclose(Q.kl_from_standard_normal()[i], expected, rtol=1e-5)


def test_the_encoder_centres_and_splits():
    encoder = GaussianEncoder(lambda x: jnp.concatenate([x, 2 * x]), jnp.array([1.0, 2.0]))
    q = encoder(jnp.array([[3.0, 5.0]]))
    np.testing.assert_array_equal(q.mean, [2.0, 3.0])
    np.testing.assert_array_equal(q.log_scale, [4.0, 6.0])


@pytest.mark.parametrize("transform", [jax.jit, jax.grad])
def test_transforms(transform):
    z = jnp.array([0.1, -1.5, 3.0])
    assert jnp.isfinite(transform(lambda z: Q.log_prob(z))(z)).all()


FULL = FullGaussian(
    jnp.array([0.5, -2.0, 0.0]), jnp.array([0.0, -1.0, 0.7]), jnp.arange(9.0).reshape(3, 3) / 5 - 0.4
)


def test_any_covariance_is_scipys():
    z = jnp.array([0.1, -1.5, 3.0])
    factor = np.tril(np.asarray(FULL.below), -1) + np.diag(np.exp(np.asarray(FULL.log_diagonal)))
    exact = multivariate_normal(np.asarray(FULL.mean), factor @ factor.T)
    np.testing.assert_allclose(FULL.log_prob(z), exact.logpdf(np.asarray(z)), rtol=200 * EPS)
    draws, log_q = jax.vmap(lambda key: FULL.sample_and_log_prob(key=key))(
        jax.random.split(jax.random.key(0), 20_000)
    )
    np.testing.assert_allclose(log_q, exact.logpdf(np.asarray(draws)), rtol=1e3 * EPS, atol=1e3 * EPS)
    for direction in np.eye(3), np.ones((1, 3)):  # Kolmogorov-Smirnov; false alarm below 1e-8 each
        for along in direction:
            spread = np.sqrt(along @ factor @ factor.T @ along)
            of_exact = norm(float(along @ np.asarray(FULL.mean)), spread)
            assert kstest(np.asarray(draws) @ along, of_exact.cdf).pvalue > 1e-8


def test_the_true_posterior_leaves_no_gap():
    """Where the family holds p(z | x), every log-weight is log p(x)."""
    factor = np.linalg.cholesky(np.linalg.inv(PRECISION))
    q = FullGaussian(
        jnp.asarray(POSTERIOR_MEAN), jnp.asarray(np.log(np.diag(factor))), jnp.asarray(np.tril(factor, -1))
    )
    x = jnp.tile(jnp.asarray(X), (50, 1))
    weights = bound(
        LinearGaussian(jnp.asarray(WEIGHT)), lambda x: q, x, key=jax.random.key(0), objective=ELBO()
    )
    np.testing.assert_allclose(weights, LOG_P, rtol=100 * EPS)


def test_an_encoder_of_any_covariance():
    encoder = FullGaussianEncoder(lambda x: jnp.arange(9.0) + x.sum(), jnp.array([1.0, 1.0]))
    q = encoder(jnp.array([[1.0], [1.0]]))
    np.testing.assert_array_equal(q.mean, [0, 1, 2])
    np.testing.assert_array_equal(q.log_diagonal, [3, 4, 5])
    np.testing.assert_array_equal(q.below, [[0, 0, 0], [6, 0, 0], [7, 8, 0]])
    one = FullGaussianEncoder(lambda x: jnp.array([2.0, 0.5]), jnp.zeros(2))(jnp.zeros(2))
    np.testing.assert_allclose(
        one.log_prob(jnp.array([2.5])), norm.logpdf(2.5, 2.0, np.exp(0.5)), rtol=20 * EPS
    )
    with pytest.raises(ArgumentError, match=r"latent \* \(latent \+ 3\) / 2"):
        FullGaussianEncoder(lambda x: jnp.zeros(8), jnp.zeros(2))(jnp.zeros(2))
    with pytest.raises(ArgumentError, match="examples of 2 entries"):
        encoder(jnp.zeros(3))
