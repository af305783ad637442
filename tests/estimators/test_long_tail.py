"""The further estimators: unbiased against enumeration and closed forms, and what is special to each."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from backthrough.core import ArgumentError
from backthrough.estimators import (
    RODEO,
    CategoricalDisARM,
    DiCE,
    DoubleCV,
    LeaveOneOut,
    MeasureValued,
    expect,
    vimco,
)
from estimators.problems import LOGITS, draws, exact, flat, quadratic, z_scores

KEY = jax.random.key(0)
POINT = jnp.asarray(LOGITS, jnp.result_type(float))
N = 50_000


def stein():
    return RODEO(eqx.nn.MLP(2, 2, 4, 1, activation=jnp.tanh, key=jax.random.key(4)))


@pytest.mark.parametrize(
    ("make", "n_samples", "problem"),
    [
        (DiCE, 1, "bernoulli"),
        (DoubleCV, 2, "bernoulli"),
        pytest.param(DoubleCV, 4, "bernoulli", marks=pytest.mark.slow),
        pytest.param(stein, 2, "bernoulli", marks=pytest.mark.slow),
        (stein, 3, "bernoulli"),
        (MeasureValued, 1, "bernoulli"),
        pytest.param(MeasureValued, 1, "mixture", marks=pytest.mark.slow),
        pytest.param(MeasureValued, 1, "one-hot", marks=pytest.mark.slow),
        (MeasureValued, 1, "index"),
        (MeasureValued, 1, "normal"),
        (CategoricalDisARM, 2, "one-hot"),
        pytest.param(CategoricalDisARM, 4, "index", marks=pytest.mark.slow),
        pytest.param(DiCE, 2, "mixture", marks=pytest.mark.slow),
    ],
)
def test_unbiased(make, n_samples, problem):
    """Within 6 standard errors."""
    estimator = make()
    assert estimator.properties.unbiased
    sample = draws(problem, estimator, n_samples, N)
    assert np.abs(z_scores(sample, exact(problem))).max() < 6


def test_double_cv_has_no_variance_for_a_linear_f():
    weight = jnp.array([1.0, -2.0, 0.5, 3.0])

    def gradient(f, estimator):
        def mean(logits):
            return expect(f, dist.Bernoulli(logits=logits), key=KEY, estimator=estimator, n_samples=3)

        return jax.jit(jax.grad(mean))(POINT)

    p = jax.nn.sigmoid(POINT)
    linear = gradient(lambda b: b @ weight, DoubleCV(1.0))
    np.testing.assert_allclose(linear, weight * p * (1 - p), rtol=1e-4, atol=1e-6)
    plain, same = (gradient(quadratic, own) for own in (LeaveOneOut(), DoubleCV(0.0)))
    np.testing.assert_allclose(same, plain, rtol=1e-5, atol=1e-6)


def test_one_measure_valued_variable_is_exact():
    """With a single discrete variable nothing is left to chance."""

    def gradient(logit):
        f = lambda b: (b - 0.3) ** 2  # noqa: E731
        return expect(f, dist.Bernoulli(logits=logit), key=KEY, estimator=MeasureValued())

    p = jax.nn.sigmoid(0.7)
    np.testing.assert_allclose(jax.jit(jax.grad(gradient))(0.7), p * (1 - p) * (0.49 - 0.09), rtol=1e-5)


def test_dice_has_unbiased_second_derivatives():
    """Against the Hessian of the enumerated expectation: 16 comparisons within 6 standard errors."""

    def mean(logits):
        every = jnp.array(list(itertools.product((0.0, 1.0), repeat=4)))
        log_p = jnp.sum(every * logits - jax.nn.softplus(logits), axis=1)
        return jnp.sum(jnp.exp(log_p) * jax.vmap(quadratic)(every))

    def one(key):
        return jax.hessian(lambda p: expect(quadratic, dist.Bernoulli(logits=p), key=key, estimator=DiCE()))(
            POINT
        )

    sample = flat(jax.jit(jax.vmap(one))(jax.random.split(KEY, N)))
    assert np.abs(z_scores(sample, np.asarray(jax.jit(jax.hessian(mean))(POINT)).reshape(-1))).max() < 6


def test_vimco_is_unbiased_for_the_multi_sample_bound():
    """2 variables, 2 draws: 16 outcomes of the pair; to the logits and to what the weight closes over."""
    logits, slope = jnp.array([0.4, -0.8]), jnp.asarray(0.7)

    def log_weight(b, slope):
        return slope * b[0] - 1.5 * b[0] * b[1] + jnp.sin(slope) * b[1]

    def exact_bound(logits, slope):
        every = jnp.array(list(itertools.product((0.0, 1.0), repeat=2)))
        log_p = jnp.sum(every * logits - jax.nn.softplus(logits), axis=1)
        weights = jnp.exp(jax.vmap(lambda b: log_weight(b, slope))(every))
        bounds = jnp.log((weights[:, None] + weights[None, :]) / 2)
        return jnp.sum(jnp.exp(log_p[:, None] + log_p[None, :]) * bounds)

    def one(key):
        def bound(logits, slope):
            d = dist.Bernoulli(logits=logits)
            return vimco(lambda b: log_weight(b, slope), d, key=key, n_samples=2)

        return jax.grad(bound, (0, 1))(logits, slope)

    sample = flat(jax.jit(jax.vmap(one))(jax.random.split(KEY, N)))
    expected = jax.jit(jax.grad(exact_bound, (0, 1)))(logits, slope)
    assert np.abs(z_scores(sample, np.concatenate([expected[0], expected[1][None]]))).max() < 6
    with pytest.raises(ArgumentError, match="vimco needs n_samples of 2 or more, got 1"):
        vimco(jnp.sum, dist.Bernoulli(logits=logits), key=KEY, n_samples=1)


def test_refusals():
    bits = dist.Bernoulli(logits=POINT)
    for estimator, n_samples, message in (
        (DoubleCV(), 1, "DoubleCV needs n_samples of 2 or more, got 1"),
        (stein(), 1, "RODEO needs n_samples of 2 or more, got 1"),
        (CategoricalDisARM(), 2, "CategoricalDisARM works for Categorical, OneHotCategorical variables, got"),
        (RODEO(eqx.nn.MLP(2, 3, 4, 1, key=KEY)), 2, r"must return two numbers, got shape \(3,\)"),
    ):
        ask = lambda: expect(quadratic, bits, key=KEY, estimator=estimator, n_samples=n_samples)  # noqa: B023,E731
        with pytest.raises(ArgumentError, match=message):
            jax.eval_shape(ask)
    d = dist.Categorical(logits=POINT)
    with pytest.raises(ArgumentError, match="CategoricalDisARM needs an even n_samples of 2 or more, got 3"):
        expect(lambda b: b * 1.0, d, key=KEY, estimator=CategoricalDisARM(), n_samples=3)
