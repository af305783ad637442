"""Agreement of two posteriors' variances, where the variances have a closed form."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backthrough.core import ArgumentError
from backthrough.natgrad import Draws, Fitted, Gaussian
from backthrough.natgrad.agreement import variance_correlation
from backthrough.natgrad.compared import FactorisedGaussian, PointWeights

X = jax.random.normal(jax.random.key(0), (30, 2))
LINEAR = eqx.nn.Linear(2, 2, key=jax.random.key(1))
LIKELIHOOD = Gaussian(n_outputs=2)
KEY = jax.random.key(2)


def test_variances_of_a_linear_model():
    """Two draws of weights, w and -w, have outputs of variance (w x)^2; a factorised Gaussian's are exact."""
    models = jax.tree_util.tree_map(lambda w: jnp.stack([w, -w]), LINEAR)
    pair = Draws(models, jnp.ones((2, 2)), LIKELIHOOD)
    scales = jax.tree_util.tree_map(lambda w: jnp.log(jnp.arange(1.0, w.size + 1).reshape(w.shape)), LINEAR)
    gaussian = Fitted(FactorisedGaussian(LINEAR, scales, 1.0), LIKELIHOOD.init(), LIKELIHOOD)
    found = variance_correlation(pair, gaussian, X, n_samples=20_000, key=KEY)
    first = np.asarray(jax.vmap(LINEAR)(X)) ** 2
    variance = jax.tree_util.tree_map(lambda w: jnp.exp(2 * w), scales)
    second = np.asarray(jnp.square(X) @ variance.weight.T + variance.bias)
    expected = [np.corrcoef(first[:, i], second[:, i])[0, 1] for i in range(2)]
    # 20,000 draws know each variance to 1 %, and so the ratio of means; the correlation better still
    np.testing.assert_allclose(found.ratio, second.mean(0) / first.mean(0), rtol=0.06)
    np.testing.assert_allclose(found.correlation, expected, atol=0.06)
    itself = variance_correlation(pair, pair, X, key=KEY)
    np.testing.assert_allclose(itself, np.ones((2, 2)))


def test_what_is_wrong_is_named():
    pair = Draws(jax.tree_util.tree_map(lambda w: jnp.stack([w, -w]), LINEAR), jnp.ones((2, 2)), LIKELIHOOD)
    point = Fitted(PointWeights(LINEAR), LIKELIHOOD.init(), LIKELIHOOD)
    with pytest.raises(ArgumentError, match="other has the same variance at all examples"):
        variance_correlation(pair, point, X, key=KEY)
    with pytest.raises(ArgumentError, match="reference has the same variance at all examples"):
        variance_correlation(point, pair, X, key=KEY)
    with pytest.raises(ArgumentError, match="at least two examples to correlate over, got 1"):
        variance_correlation(pair, pair, X[:1], key=KEY)
    with pytest.raises(ArgumentError, match="n_samples must be at least 1, got 0"):
        variance_correlation(pair, pair, X, n_samples=0, key=KEY)
