import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import bernoulli

from backthrough.core import ArgumentError
from backthrough.latent import BernoulliModel, bernoulli_vae

EPS = float(jnp.finfo(jnp.result_type(float)).eps)


def logits_as_decoder(logits):
    return BernoulliModel(lambda z: z, len(logits)), jnp.asarray(logits)


def test_log_likelihood_is_scipys():
    model, logits = logits_as_decoder([-3.0, 0.0, 0.5, 4.0])
    x = jnp.array([0.0, 1.0, 1.0, 0.0])
    expected = bernoulli.logpmf(x, 1 / (1 + np.exp(-np.asarray(logits, np.float64)))).sum()
    np.testing.assert_allclose(model.log_likelihood(x, logits), expected, rtol=20 * EPS)


def test_log_likelihood_is_exact_for_extreme_logits():
    model, logits = logits_as_decoder([200.0, -200.0, 1e4])
    assert abs(model.log_likelihood(jnp.array([1.0, 0.0, 1.0]), logits)) <= 1e-80
    np.testing.assert_allclose(model.log_likelihood(jnp.array([0.0, 1.0, 0.0]), logits), -10_400.0)
    gradient = jax.grad(model.log_likelihood, argnums=1)(jnp.array([0.0, 1.0, 1.0]), logits)
    np.testing.assert_array_equal(gradient, [-1.0, 1.0, 0.0])


def test_the_shape_of_x_does_not_matter():
    model, logits = logits_as_decoder([0.1, 0.2, 0.3, 0.4])
    x = jnp.array([0.0, 1.0, 1.0, 0.0])
    assert model.log_likelihood(x, logits) == model.log_likelihood(x.reshape(2, 2), logits)


def test_prior_and_samples():
    """Frequencies within 6 standard errors; 4 comparisons, false alarm below 1e-8."""
    model, logits = logits_as_decoder([-2.0, 0.0, 0.5, 3.0])
    n = 20_000
    x = jax.vmap(lambda key: model.sample_x(logits, key=key))(jax.random.split(jax.random.key(0), n))
    assert set(np.unique(x)) == {0.0, 1.0}
    p = np.asarray(model.mean(logits))
    assert (np.abs(np.asarray(x.mean(0)) - p) < 6 * np.sqrt(p * (1 - p) / n)).all()
    assert model.sample_prior(key=jax.random.key(1)).shape == (4,)
    z = jnp.array([1.0, 2.0, 0.0, 0.0])
    np.testing.assert_allclose(model.log_prior(z), -2.5 - 2 * np.log(2 * np.pi), rtol=20 * EPS)


def test_the_ready_made_vae():
    mean = np.array([0.0, 0.25, 1.0])
    model, encoder = bernoulli_vae(mean, latent_size=2, hidden_sizes=(5, 4), key=jax.random.key(0))
    widths = [layer.weight.shape for layer in encoder.network.layers if hasattr(layer, "weight")]
    assert widths == [(5, 3), (4, 5), (4, 4)]
    widths = [layer.weight.shape for layer in model.decoder.layers if hasattr(layer, "weight")]
    assert widths == [(4, 2), (5, 4), (3, 5)]
    np.testing.assert_allclose(model.mean(jnp.zeros(2)), [0.001, 0.25, 0.999], rtol=1e-4)
    for layer in encoder.network.layers[::2]:
        outputs, inputs = layer.weight.shape
        assert jnp.abs(layer.weight).max() <= np.sqrt(6 / (inputs + outputs))
    with pytest.raises(ArgumentError, match="latent_size must be at least 1, got 0"):
        bernoulli_vae(mean, latent_size=0, key=jax.random.key(0))
