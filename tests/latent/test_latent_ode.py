"""Against series whose likelihood is known in closed form, and invariances."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm
from scipy.stats import multivariate_normal

from backthrough.core import ArgumentError, DataError
from backthrough.latent import (
    FactorisedGaussian,
    LatentODE,
    Observations,
    RecurrentEncoder,
    elbo,
    iwae,
    log_weight,
    pad_series,
)
from backthrough.ode import RK4, Dopri5, Unrolled

MATRIX = np.array([[-0.3, 1.0], [-1.0, -0.2]])
READ = np.array([[1.0, 0.5], [-0.3, 2.0], [0.1, -1.0]])
SCALE = np.array([0.5, 0.3, 0.8])
TIGHT = Dopri5(rtol=1e-6, atol=1e-7)
TIMES = np.array([0.0, 0.4, 1.1, 2.5])
VALUES = np.array([[0.3, np.nan, 1.0], [np.nan, np.nan, 0.2], [1.5, -0.4, np.nan], [0.1, 0.9, -0.6]])
SERIES = jax.tree_util.tree_map(lambda leaf: jnp.asarray(leaf[0]), pad_series([TIMES], [VALUES]))


class Linear(eqx.Module):
    matrix: jax.Array

    def __call__(self, t, z, args):
        return self.matrix @ z


def gaussian(matrix, read, **options):
    options = {"solver": TIGHT, **options}
    return LatentODE(
        Linear(jnp.asarray(matrix, float)),
        lambda z: jnp.asarray(read) @ z,
        latent_size=len(matrix),
        log_scale=jnp.log(SCALE),
        **options,
    )


def evidence(matrix, read):
    """log p(x), mean and covariance of p(z0 | x): what is observed is linear in z0."""
    seen = np.isfinite(VALUES)
    weight = np.concatenate([(read @ expm(matrix * t))[own] for t, own in zip(TIMES, seen, strict=True)])
    noise = np.concatenate([SCALE[own] ** 2 for own in seen])
    x = VALUES[seen]
    covariance = weight @ weight.T + np.diag(noise)
    log_p = multivariate_normal.logpdf(x, np.zeros(len(x)), covariance)
    precision = np.eye(len(matrix)) + weight.T @ (weight / noise[:, None])
    return log_p, np.linalg.solve(precision, weight.T @ (x / noise)), np.linalg.inv(precision)


def test_the_likelihood_is_that_of_a_linear_gaussian_series():
    """p(x) p(z | x) / p(z) at a few z, with gaps in every row."""
    log_p, mean, covariance = evidence(MATRIX, READ)
    model = gaussian(MATRIX, READ)
    likelihood = jax.jit(lambda z: model.log_likelihood(SERIES, z))
    for z in ([0.0, 0.0], [1.0, -2.0], [0.3, 0.7]):
        exact = (
            log_p
            + multivariate_normal.logpdf(z, mean, covariance)
            - multivariate_normal.logpdf(z, np.zeros(2), np.eye(2))
        )
        np.testing.assert_allclose(likelihood(jnp.array(z)), exact, rtol=2e-4)


def test_with_the_exact_posterior_every_weight_is_the_evidence():
    """With z of one dimension the exact posterior is in the family."""
    matrix, read = MATRIX[:1, :1], READ[:, :1]
    log_p, mean, covariance = evidence(matrix, read)
    batch = jax.tree_util.tree_map(lambda leaf: jnp.stack([leaf] * 3), SERIES)

    def exact(x):
        return FactorisedGaussian(jnp.asarray(mean, float), jnp.asarray(0.5 * np.log(covariance[0]), float))

    model = gaussian(matrix, read)
    for bound, n_samples in ((elbo, 1), (iwae, 4)):
        values = bound(model, exact, batch, key=jax.random.key(0), n_samples=n_samples)
        np.testing.assert_allclose(values, log_p, rtol=2e-4)


def test_a_constant_rate_is_a_poisson_process():
    """Two channels with rates 3 and 0.5, watched up to t = 4: sum over events of log rate, minus 4 * 3.5."""
    rates = jnp.array([3.0, 0.5])
    model = LatentODE(Linear(jnp.eye(1)), latent_size=1, log_intensity=lambda z: jnp.log(rates) + 0 * z)
    mask = jnp.array([[True, False], [True, True], [False, True], [False, False]])
    x = Observations(jnp.array([0.5, 1.0, 3.0, 4.0]), jnp.zeros((4, 2)), mask)
    exact = 2 * np.log(3.0) + 2 * np.log(0.5) - 4 * 3.5
    np.testing.assert_allclose(model.log_likelihood(x, jnp.ones(1)), exact, rtol=1e-5)


def test_a_falling_rate_has_its_integral_and_gradient():
    """Rate z0 exp(-t) on [0, 2]: n log z0 - sum of t - z0 (1 - exp(-2)); its slope n / z0 - (1 - exp(-2))."""
    model = LatentODE(Linear(-jnp.eye(1)), latent_size=1, log_intensity=jnp.log, solver=TIGHT)
    events = np.array([0.2, 0.9, 1.3])
    x = Observations(jnp.array([*events, 2.0]), jnp.zeros((4, 1)), jnp.array([[True]] * 3 + [[False]]))
    value, slope = jax.jit(jax.value_and_grad(lambda z: model.log_likelihood(x, z)))(jnp.array([2.5]))
    lost = 1 - np.exp(-2.0)
    np.testing.assert_allclose(value, 3 * np.log(2.5) - events.sum() - 2.5 * lost, rtol=1e-4)
    np.testing.assert_allclose(slope[0], 3 / 2.5 - lost, rtol=1e-3)


FIELDS = {"RNN": None, "ODE-RNN": Linear(jnp.asarray(0.3 * np.eye(5) - 0.1))}


@pytest.mark.parametrize("kind", FIELDS)
def test_padding_and_what_is_not_observed_change_nothing(kind):
    """Neither value nor gradient, NaN included; a row without observations is as good as none."""
    encoder = RecurrentEncoder(3, 2, hidden_size=5, field=FIELDS[kind], key=jax.random.key(1))
    padded = pad_series([TIMES], [VALUES], length=7)
    longer = pad_series(
        [np.insert(TIMES, 2, 0.7)], [np.insert(VALUES, 2, np.full(3, np.nan), axis=0)], length=7
    )
    spoilt = padded._replace(values=np.where(padded.mask, padded.values, np.nan))
    model = gaussian(MATRIX, READ, solver=RK4(20), adjoint=Unrolled())
    bound = eqx.filter_jit(
        eqx.filter_value_and_grad(
            lambda parts, x: log_weight(parts[0], parts[1](x), x, key=jax.random.key(2))
        )
    )
    values, slopes = [], []
    for batch in (padded, longer, spoilt):
        x = jax.tree_util.tree_map(lambda leaf: jnp.asarray(leaf[0]), batch)
        value, slope = bound((model, encoder), x)
        values.append(value)
        slopes.append(jnp.concatenate([leaf.ravel() for leaf in jax.tree_util.tree_leaves(slope)]))
    alone, _ = bound((model, encoder), SERIES)
    np.testing.assert_allclose(values, [alone] * 3, rtol=1e-4)
    np.testing.assert_allclose(slopes[1], slopes[0], rtol=1e-2, atol=1e-3)
    np.testing.assert_array_equal(slopes[2], slopes[0])
    assert np.isfinite(slopes[0]).all()


def test_between_observations_the_state_follows_its_ode():
    """One observation at t = 2: the GRU's state there, times exp(-2 A) at t0 = 0. A zero field is none."""
    matrix = 0.5 * jax.random.normal(jax.random.key(0), (5, 5))
    x = Observations(jnp.array([2.0]), jnp.array([[1.0, -1.0, 0.5]]), jnp.ones((1, 3), bool))

    def state(field):
        own = RecurrentEncoder(3, 2, hidden_size=5, field=field, solver=RK4(50), key=jax.random.key(1))
        return own.summary(x)

    plain = state(None)
    np.testing.assert_allclose(state(Linear(matrix)), expm(-2 * np.asarray(matrix)) @ plain, atol=1e-4)
    np.testing.assert_allclose(state(Linear(jnp.zeros((5, 5)))), plain, atol=1e-6)


def test_bad_input_is_named():
    model = gaussian(MATRIX, READ)
    with pytest.raises(ArgumentError, match="needs a decoder for values, a log_intensity for times, or both"):
        LatentODE(Linear(jnp.eye(2)), latent_size=2)
    with pytest.raises(ArgumentError, match="field must be callable, got 3"):
        LatentODE(3, lambda z: z, latent_size=2)
    with pytest.raises(
        ArgumentError, match=r"the decoder makes \(3,\) numbers a time, the series has \(2,\)"
    ):
        model.log_likelihood(
            Observations(SERIES.times, SERIES.values[:, :2], SERIES.mask[:, :2]), jnp.zeros(2)
        )
    with pytest.raises(ArgumentError, match="has no decoder: it models times, not values"):
        LatentODE(Linear(jnp.eye(1)), latent_size=1, log_intensity=jnp.log).means(jnp.ones(1), jnp.ones(1))
    encoder = RecurrentEncoder(2, 2, key=jax.random.key(0))
    with pytest.raises(ArgumentError, match=r"one series of 2 channels, got a mask of shape \(4, 3\)"):
        encoder(SERIES)
    uneven = Observations(jnp.zeros((2, 4)), jnp.zeros((3, 4, 3)), jnp.zeros((3, 4, 3), bool))
    with pytest.raises(ArgumentError, match=r"all arrays of x need as many examples, got \[2, 3\]"):
        elbo(model, lambda x: None, uneven, key=jax.random.key(0))


@pytest.mark.parametrize(
    ("times", "values", "error", "message"),
    [
        ([], [], ArgumentError, "as many times as values, got 0 and 0"),
        ([TIMES[:2]], [VALUES], DataError, r"series 0 has 2 times and values of shape \(4, 3\)"),
        ([TIMES[::-1]], [VALUES], DataError, "times of series 0 must be finite and strictly increasing"),
        ([TIMES], [np.full((4, 3), np.nan)], DataError, "series 0 has no observation at all"),
        ([TIMES], [np.where(VALUES > 1, np.inf, VALUES)], DataError, "series 0 has an infinite value"),
    ],
)
def test_bad_series_are_named(times, values, error, message):
    with pytest.raises(error, match=message), np.errstate(all="ignore"):
        pad_series(times, values)
    with pytest.raises(ArgumentError, match="length must be at least 4, that of the longest series, got 3"):
        pad_series([TIMES], [VALUES], length=3)
