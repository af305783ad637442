"""NUTS against posteriors in closed form."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.diagnostics import effective_sample_size, split_gelman_rubin
from scipy import stats

from backthrough.core import ArgumentError
from backthrough.natgrad import Draws, FixedNoise, GammaNoise, Gaussian, fit_weights
from backthrough.natgrad.compared import NUTS, r_hat
from oracles import ridge

CHAINS, SAMPLES = 4, 400


def draw(model, likelihood, x, **settings):
    return fit_weights(
        model,
        likelihood,
        x,
        ridge.Y,
        method=NUTS(CHAINS, n_warmup=200, n_samples=SAMPLES, max_tree_depth=4),
        key=jax.random.key(1),
        prior_var=ridge.PRIOR_VAR,
        **settings,
    )


@pytest.fixture(scope="module")
def regression():
    model = eqx.nn.Linear(ridge.FEATURES, 1, key=jax.random.key(0))
    return draw(model, Gaussian(FixedNoise(ridge.NOISE)), ridge.X)


def z_scores(values, expected):
    """Errors of the means in standard errors, which take the chains' autocorrelation into account."""
    by_chain = values.reshape(CHAINS, SAMPLES, -1)
    size = np.minimum(effective_sample_size(by_chain), CHAINS * SAMPLES)
    assert size.min() > 200
    return (values.mean(0) - expected) / (values.std(0) / np.sqrt(size))


def test_mean_and_covariance_of_linear_regression(regression):
    assert (regression.n_chains, regression.n_draws) == (CHAINS, CHAINS * SAMPLES)
    whitening = np.linalg.cholesky(ridge.PRECISION)
    white = (ridge.flat(regression.models) - ridge.MEAN) @ whitening  # standard normal, if drawn right
    assert np.abs(z_scores(white, 0)).max() < 6
    products = (white[:, :, None] * white[:, None, :]).reshape(len(white), -1)
    assert np.abs(z_scores(products, np.eye(4).ravel())).max() < 6
    np.testing.assert_allclose(regression.parameters, ridge.NOISE**-2.0)


def test_the_noise_has_its_conjugate_posterior():
    """At x = 0 and without bias the outputs are 0 whatever the weights, which keep their prior."""
    model = eqx.nn.Linear(1, 1, use_bias=False, key=jax.random.key(0))
    found = draw(model, Gaussian(GammaNoise(3.0, 2.0)), np.zeros((ridge.ROWS, 1)))
    weights = np.asarray(found.models.weight).reshape(-1, 1)
    assert np.abs(z_scores(np.concatenate([weights, weights**2], 1), [0, ridge.PRIOR_VAR])).max() < 6
    exact = stats.gamma(3 + ridge.ROWS / 2, scale=1 / (2 + np.sum(ridge.Y**2) / 2))
    levels = exact.cdf(np.asarray(found.parameters, np.float64))  # uniform on [0, 1], if drawn right
    assert np.abs(z_scores(np.concatenate([levels, levels**2], 1), [1 / 2, 1 / 3])).max() < 6


def test_r_hat_is_that_of_the_outputs(regression):
    x = jnp.asarray(ridge.X[:5], float)
    outputs = ridge.flat(regression.models) @ ridge.DESIGN[:5].T
    found = r_hat(regression, x)
    expected = split_gelman_rubin(outputs.reshape(CHAINS, SAMPLES, 5))
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-4)
    assert found.max() < 1.03
    shifted = eqx.tree_at(
        lambda own: own.models.bias, regression, regression.models.bias.at[:SAMPLES].add(1.0)
    )
    assert r_hat(shifted, x).min() > 1.5


def test_what_is_wrong_is_named():
    for name in ("n_chains", "n_warmup", "n_samples", "thinning", "max_tree_depth"):
        with pytest.raises(ArgumentError, match=f"{name} must be at least 1, got 0"):
            NUTS(**{name: 0})
    with pytest.raises(ArgumentError, match="target_accept must lie between 0 and 1, got 1.0"):
        NUTS(target_accept=1.0)
    model = eqx.nn.Linear(ridge.FEATURES, 1, key=jax.random.key(0))
    with pytest.raises(ArgumentError, match="kl_weight must be 1, got 0.5"):
        draw(model, Gaussian(), ridge.X, kl_weight=0.5)
    models = eqx.filter_vmap(lambda key: eqx.nn.Linear(1, 1, key=key))(jax.random.split(jax.random.key(0), 6))
    with pytest.raises(ArgumentError, match="at least 4 draws of each chain, got 3"):
        r_hat(Draws(models, jnp.ones((6, 1)), Gaussian(), n_chains=2), jnp.ones((1, 1)))
