"""Logistic regression, whose posterior is nearly Gaussian, beside draws from it by NUTS."""

import equinox as eqx
import jax
import numpy as np
import pytest

from backthrough.natgrad import NUTS, Bernoulli, NoisyFull, fit_weights


@pytest.mark.slow
def test_the_full_covariance_is_near_the_posterior():
    """Of 200 rows. The Gaussian's own error and that of 2,000 draws are a few parts in a hundred."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(200, 2)) * [1.0, 2.0]
    logits = x @ [1.0, -0.5] + 0.3
    y = (generator.uniform(size=200) < 1 / (1 + np.exp(-logits))).astype(int)
    model, key = eqx.nn.Linear(2, 1, key=jax.random.key(0)), jax.random.key(1)
    drawn = fit_weights(
        model, Bernoulli(), x, y, method=NUTS(n_chains=2, n_warmup=300, n_samples=1000), key=key
    ).models
    q = fit_weights(
        model,
        Bernoulli(),
        x,
        y,
        method=NoisyFull(learning_rate=0.05, decay=0.999),
        n_epochs=200,
        batch_size=20,
        key=key,
    ).weights
    draws = np.concatenate([np.asarray(drawn.weight)[:, 0], np.asarray(drawn.bias)], axis=1)
    mean = np.append(np.asarray(q.mean.weight)[0], np.asarray(q.mean.bias))
    (precision,) = q.precision_blocks().values()
    covariance = np.linalg.inv(np.asarray(precision, np.float64))
    assert np.all(np.abs(mean - draws.mean(0)) < 0.3 * draws.std(0))
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), draws.std(0), rtol=0.15)
    correlations = np.corrcoef(draws.T) - covariance / np.sqrt(np.outer(*2 * [np.diag(covariance)]))
    assert np.abs(correlations).max() < 0.15
