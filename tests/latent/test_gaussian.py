import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import kstest, norm

from backthrough.latent import FactorisedGaussian, GaussianEncoder

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
