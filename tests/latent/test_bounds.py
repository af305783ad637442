"""Against the linear-Gaussian model, where bound, gaps and gradients have closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backthrough.core import ArgumentError, DataError, log_mean_exp
from backthrough.latent import FactorisedGaussian, bernoulli_vae, elbo, evaluate_bound, iwae, log_weight
from oracles.linear_gaussian import (
    LOG_P,
    POSTERIOR_MEAN,
    PRECISION,
    WEIGHT,
    LinearGaussian,
    X,
    exact_elbo,
)

MODEL = LinearGaussian(jnp.asarray(WEIGHT))
XS = jnp.asarray(X)[None]
MEAN = POSTERIOR_MEAN + 0.1
SCALE = np.sqrt(1.5 / np.diag(PRECISION))


def encoder(x):
    return FactorisedGaussian(jnp.asarray(MEAN), jnp.log(jnp.asarray(SCALE)))


def repeated(bound, n, **options):
    """`bound` of n copies of x, each with its own draws: mean and standard error."""
    values = jax.jit(lambda key: bound(MODEL, encoder, jnp.tile(XS, (n, 1)), key=key, **options))
    values = np.asarray(values(jax.random.key(0)))
    return values.mean(), values.std(ddof=1) / np.sqrt(n)


def test_the_oracle_is_the_published_one():
    """Figures computed independently: log p -17.186430, gap 0.851496 of this q."""
    np.testing.assert_allclose(LOG_P, -17.186430, atol=1e-6)
    np.testing.assert_allclose(LOG_P - exact_elbo(MEAN, SCALE), 0.851496, atol=1e-6)


def test_elbo_has_its_closed_form():
    """Within 6 standard errors: false alarm 2e-9."""
    mean, error = repeated(elbo, 500, n_samples=40)
    assert error < 0.02
    assert abs(mean - exact_elbo(MEAN, SCALE)) < 6 * error


def test_the_bounds_rise_to_the_evidence():
    """L_1 = ELBO < L_10 < L_400 <= log p, each step larger than 6 standard errors."""
    one, error_1 = repeated(iwae, 20_000, n_samples=1)
    ten, error_10 = repeated(iwae, 4_000, n_samples=10)
    many, error_400 = repeated(iwae, 200, n_samples=400)
    assert abs(one - exact_elbo(MEAN, SCALE)) < 6 * error_1
    assert ten - one > 6 * np.hypot(error_1, error_10)
    assert many - ten > 6 * np.hypot(error_10, error_400)
    assert abs(many - LOG_P) < 0.01 + 6 * error_400


def test_with_the_exact_posterior_the_weight_is_constant():
    """With z of one dimension the exact posterior is in the family: every draw gives log p(x)."""
    model = LinearGaussian(jnp.asarray(WEIGHT[:, :1]))
    precision = 1 + WEIGHT[:, 0] @ WEIGHT[:, 0] / 0.25

    def exact(x):
        mean = jnp.asarray(WEIGHT[:, :1]).T @ x / 0.25 / precision
        return FactorisedGaussian(mean, jnp.full(1, -0.5 * np.log(precision)))

    values = iwae(model, exact, jnp.tile(XS, (50, 1)), key=jax.random.key(0), n_samples=3)
    np.testing.assert_allclose(values, values[0], rtol=1e-5)


@pytest.mark.parametrize("n_samples", [3, 50, 51, 120])
def test_drawing_in_chunks_is_drawing_at_once(n_samples):
    key = jax.random.key(5)
    own = jax.random.split(jax.random.split(key, 1)[0], n_samples)
    weights = jax.jit(jax.vmap(lambda k: log_weight(MODEL, encoder(XS[0]), XS[0], key=k)))(own)
    for bound, average in ((iwae, log_mean_exp), (elbo, jnp.mean)):
        value = jax.jit(lambda key: bound(MODEL, encoder, XS, key=key, n_samples=n_samples))(key)[0]  # noqa: B023
        np.testing.assert_allclose(value, average(weights), rtol=1e-5)


@pytest.mark.parametrize(("bound", "n_samples"), [(elbo, 2), (iwae, 5), (iwae, 60)])
def test_gradients_equal_finite_differences(bound, n_samples):
    """With the draws held fixed; tight in float64, where the x64 job runs it."""
    double = jax.config.read("jax_enable_x64")
    step, tolerance = (1e-5, 1e-6) if double else (1e-2, 2e-2)

    def value(parameters):
        q = FactorisedGaussian(parameters[0], parameters[1])
        return bound(MODEL, lambda x: q, XS, key=jax.random.key(1), n_samples=n_samples)[0]

    point = jnp.stack([jnp.asarray(MEAN), jnp.log(jnp.asarray(SCALE))])
    shifts = step * jnp.eye(8).reshape(8, 2, 4)
    values = jax.jit(jax.vmap(value))
    slopes = (values(point + shifts) - values(point - shifts)) / (2 * step)
    gradient = jax.jit(jax.grad(value))(point)
    np.testing.assert_allclose(gradient.reshape(-1), slopes, rtol=tolerance, atol=tolerance)


def test_the_elbo_gradient_is_unbiased():
    """Against the derivative of the closed form; 8 comparisons within 6 standard errors."""

    def value(parameters, key):
        q = FactorisedGaussian(parameters[0], parameters[1])
        return elbo(MODEL, lambda x: q, XS, key=key)[0]

    point = jnp.stack([jnp.asarray(MEAN), jnp.log(jnp.asarray(SCALE))])
    keys = jax.random.split(jax.random.key(2), 20_000)
    draws = np.asarray(jax.jit(jax.vmap(jax.grad(value), (None, 0)))(point, keys))
    error = draws.std(0) / np.sqrt(len(draws))
    to_mean = -PRECISION @ (MEAN - POSTERIOR_MEAN)
    to_log_scale = 1 - np.diag(PRECISION) * SCALE**2
    assert (np.abs(draws.mean(0) - np.stack([to_mean, to_log_scale])) < 6 * error).all()


def test_examples_are_independent_under_vmap_and_jit():
    xs = jnp.stack([XS[0], 2 * XS[0], -XS[0]])
    keys = jax.random.split(jax.random.key(3), 4)
    together = jax.jit(jax.vmap(lambda key: iwae(MODEL, encoder, xs, key=key, n_samples=7)))(keys)
    for i, key in enumerate(keys):
        np.testing.assert_allclose(together[i], iwae(MODEL, encoder, xs, key=key, n_samples=7), rtol=1e-4)


def test_a_data_set_is_evaluated_whole_whatever_the_batch_size():
    xs = np.abs(np.asarray(X))[None] / np.arange(2, 13)[:, None]  # 11 examples in [0, 1]
    key = jax.random.key(4)
    one = jax.jit(lambda x, key: iwae(MODEL, encoder, x[None], key=key, n_samples=6)[0])
    keys = jax.random.split(key, len(xs))
    expected = [one(jnp.asarray(x), own) for x, own in zip(xs, keys, strict=True)]
    for batch_size in (1, 4, 11, 100):
        values = evaluate_bound(iwae, MODEL, encoder, xs, key=key, n_samples=6, batch_size=batch_size)
        np.testing.assert_allclose(values, expected, rtol=1e-4)


def test_a_plain_object_may_change_between_calls():
    """It is no pytree, so nothing shows that its arrays are others now."""

    class Plain:
        def __init__(self):
            self.shift = 0.0

        def __call__(self, x):
            return FactorisedGaussian(jnp.asarray(MEAN) + self.shift, jnp.log(jnp.asarray(SCALE)))

    plain, x = Plain(), np.asarray(XS)
    options = {"key": jax.random.key(0), "n_samples": 5}
    before = evaluate_bound(elbo, MODEL, plain, x, **options)
    plain.shift = 1.0
    assert (evaluate_bound(elbo, MODEL, plain, x, **options) != before).all()


def test_bad_input_is_named():
    with pytest.raises(ArgumentError, match="n_samples must be at least 1, got 0"):
        iwae(MODEL, encoder, XS, key=jax.random.key(0), n_samples=0)
    with pytest.raises(ArgumentError, match="x has no examples"):
        elbo(MODEL, encoder, XS[:0], key=jax.random.key(0))
    model, own = bernoulli_vae(np.full(6, 0.5), latent_size=2, hidden_sizes=(3,), key=jax.random.key(0))
    for wrong in (jnp.ones(6), jnp.ones((2, 5))):
        with pytest.raises(ArgumentError, match="takes examples of 6 entries"):
            elbo(model, own, wrong[:, None] if wrong.ndim == 1 else wrong, key=jax.random.key(0))
    with pytest.raises(ArgumentError, match="makes 6 logits and the example has shape"):
        model.log_likelihood(jnp.ones(1), jnp.ones(2))
    options = {"key": jax.random.key(0), "n_samples": 1}
    with pytest.raises(DataError, match=r"x must be 0 or 1 .* entry \(0, 2\) is 0.5"):
        evaluate_bound(iwae, model, own, np.ones((2, 6)) - 0.5 * np.eye(2, 6, 2), **options)
    with pytest.raises(DataError, match=r"x must be finite, but entry \(1, 0\) is inf"):
        evaluate_bound(iwae, MODEL, encoder, np.array([[1.0], [np.inf]]), **options)
