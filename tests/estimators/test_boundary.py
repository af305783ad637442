"""Probabilities of 0 and 1, and weights of 0: values and derivatives that exist come out, others are NaN."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from backthrough.core import ArgumentError
from backthrough.estimators import (
    ARM,
    REBAR,
    DiCE,
    DisARM,
    Enumeration,
    LeaveOneOut,
    MeasureValued,
    OneHotCategorical,
    ScoreFunction,
    compare,
    default_estimators,
    expect,
    numpy_function,
    vimco,
)

PROBS = np.array([0.0, 0.5, 1.0])


def squares(b):
    return jnp.sum((b - 0.45) ** 2)


def enumerated(p):
    """E of squares for independent bits, a polynomial in p: sum of p .3025 + (1 - p) .2025."""
    return float(np.sum(p * 0.55**2 + (1 - p) * 0.45**2))


def test_enumeration_reaches_the_edge():
    assert enumerated(PROBS) == pytest.approx(0.7575)

    def mean(p):
        return expect(squares, dist.Bernoulli(probs=p), key=jax.random.key(0), estimator=Enumeration())

    value, slope = jax.jit(jax.value_and_grad(mean))(jnp.asarray(PROBS))
    assert float(value) == pytest.approx(0.7575, rel=1e-6)
    np.testing.assert_allclose(slope, 0.55**2 - 0.45**2, rtol=1e-5)
    np.testing.assert_allclose(jax.jit(jax.hessian(mean))(jnp.asarray(PROBS)), 0, atol=1e-6)  # linear in each


def test_enumeration_of_categories_reaches_the_edge():
    weights = jnp.array([1.0, 4.0, 9.0])
    p = jnp.array([0.0, 0.25, 0.75])
    for make, f in (
        (lambda p: OneHotCategorical(probs=p), lambda b: jnp.sum(b * weights)),
        (lambda p: dist.Categorical(probs=p), lambda b: weights[b]),
    ):
        mean = lambda p: expect(f, make(p), key=jax.random.key(0), estimator=Enumeration())  # noqa: B023,E731
        value, slope = jax.jit(jax.value_and_grad(mean))(p)
        assert float(value) == pytest.approx(7.75)
        np.testing.assert_allclose(slope, weights - 7.75, rtol=1e-6)  # probabilities are divided by their sum


@pytest.mark.parametrize(
    "name",
    [
        "Enumeration",
        "ScoreFunction",
        "LeaveOneOut",
        "DisARM",
        "MeasureValued",
        "DiCE",
        "RELAX",
        "ReinMax",
        "StraightThrough",
    ],
)
def test_logits_without_bound_are_certain(name):
    """b = 0 and 1 for sure: the value is that of the certain sample, and the slope there is p (1 - p) = 0."""
    estimator = default_estimators()[name]
    logits = jnp.array([-jnp.inf, 0.0, jnp.inf])

    def mean(own):
        n = estimator.properties.least_samples
        return expect(
            squares, dist.Bernoulli(logits=own), key=jax.random.key(1), estimator=estimator, n_samples=n
        )

    value, slope = jax.jit(jax.value_and_grad(mean))(logits)  # eager, numpyro refuses them
    certain = 0.45**2 + 0.55**2
    assert certain + 0.45**2 - 1e-6 <= float(value) <= certain + 0.55**2 + 1e-6
    np.testing.assert_array_equal(slope[jnp.array([0, 2])], 0)
    assert np.isfinite(slope[1])


@pytest.mark.parametrize(
    "estimator",
    [REBAR(coupled=True), LeaveOneOut(), MeasureValued()]
    + [pytest.param(own, marks=pytest.mark.slow) for own in (REBAR(), ScoreFunction(), DiCE())],
)
def test_a_category_that_cannot_be(estimator):
    """A logit of -inf: never drawn, slope 0; the rest as if it were not there."""
    weights = jnp.array([100.0, 4.0, 9.0])
    logits = jnp.array([-jnp.inf, 0.3, -0.2])

    def mean(logits, key, estimator):
        problem = OneHotCategorical(logits=logits)
        return expect(lambda b: jnp.sum(b * weights), problem, key=key, estimator=estimator)

    p = np.array([0.0, *np.asarray(jax.nn.softmax(logits[1:]))])
    exact = p * (weights - p @ weights)
    enumerated = jax.jit(jax.grad(lambda own: mean(own, jax.random.key(0), Enumeration())))(logits)
    np.testing.assert_allclose(enumerated, exact, rtol=1e-5, atol=1e-7)
    keys = jax.random.split(jax.random.key(0), 4000)
    slopes = jax.jit(jax.vmap(lambda key: jax.grad(mean)(logits, key, estimator)))(keys)
    assert np.isfinite(slopes).all()
    np.testing.assert_array_equal(slopes[:, 0], 0)
    error = slopes.std(0) / np.sqrt(len(keys))
    assert (np.abs(slopes.mean(0) - exact) <= 6 * error + 1e-5).all()


@pytest.mark.parametrize("name", ["Enumeration", "MeasureValued"])
def test_nearly_certain_bits(name):
    """d E[f] / d l = p (1 - p) (f(1) - f(0)), of which neither half may be lost where 1 - p rounds to 1."""
    logits = np.array([-40.0, -17.0, -6.0, 6.0, 17.0, 40.0])

    def mean(own):
        f = lambda b: jnp.sum(b) - 3 * jnp.sum(1 - b)  # noqa: E731
        return expect(
            f, dist.Bernoulli(logits=own), key=jax.random.key(0), estimator=default_estimators()[name]
        )

    slopes = jax.jit(jax.grad(mean))(jnp.asarray(logits))
    expected = 4 * np.exp(-np.abs(logits)) / (1 + np.exp(-np.abs(logits))) ** 2
    np.testing.assert_allclose(slopes, expected, rtol=1e-5)


def test_a_weight_of_zero_in_vimco():
    """One of four samples has weight 0: its log is -inf, and the bound and its gradient are finite."""

    def log_weight(b):
        return jnp.where(b.sum() == 0, -jnp.inf, b.sum())

    def mean(logits, key):
        return vimco(log_weight, dist.Bernoulli(logits=logits), key=key, n_samples=2)

    logits = jnp.zeros(2)
    keys = jax.random.split(jax.random.key(0), 2000)
    values, slopes = jax.jit(jax.vmap(jax.value_and_grad(mean), (None, 0)))(logits, keys)
    some = ~np.isinf(values) & np.isfinite(slopes).all(1)
    assert np.isfinite(values[some]).all()
    assert some.mean() > 0.5


def test_what_is_no_probability_is_nan_and_not_a_number_that_looks_right():
    """Logits given as probabilities, inside jit where they cannot be seen: the value is NaN too."""
    for make, f in (
        (lambda p: dist.Bernoulli(p), squares),
        (lambda p: dist.Categorical(p), lambda b: b.astype(float)),
        (lambda p: OneHotCategorical(p), squares),
    ):
        bits = isinstance(make(jnp.array([0.2, 0.8])), dist.BernoulliProbs)
        for estimator in (ScoreFunction(), Enumeration(), *([ARM()] if bits else [])):

            def mean(p, checked, make=make, f=f, estimator=estimator):
                return expect(f, make(p), key=jax.random.key(0), estimator=estimator, checked=checked)

            found = jax.jit(jax.value_and_grad(mean), static_argnums=1)(jnp.array([-6.0, 0.5, 3.0]), False)
            assert jnp.isnan(found[0])
            assert jnp.isnan(found[1][jnp.array([0, 2])]).all()
    with pytest.raises(
        Exception, match=r"a parameter of OneHotCategorical is nan at entry .*outside \[0, 1\]"
    ):
        jax.block_until_ready(jax.jit(mean, static_argnums=1)(jnp.array([-6.0, 0.5, 3.0]), True))


def test_probabilities_come_first_as_in_numpyro():
    p = jnp.array([0.2, 0.3, 0.5])
    np.testing.assert_allclose(OneHotCategorical(p).probs, dist.Categorical(p).probs, rtol=1e-6)
    with pytest.raises(ArgumentError, match="unbounded numbers are given as logits"):
        OneHotCategorical(jnp.array([-1.0, 2.0]))


def test_a_rounding_error_is_no_bias():
    found = compare(
        {"MeasureValued": MeasureValued(), "DisARM": DisARM()},
        lambda b: jnp.sum((b - 0.45) ** 2) + 1000,
        dist.Bernoulli(logits=jnp.array([0.2, -0.4])),
        key=jax.random.key(0),
        n_samples=1000,
    )
    assert (found.bias_z < 6).all()
    biased = compare(
        {"StraightThrough": default_estimators()["StraightThrough"]},
        lambda b: jnp.sum((b - 0.45) ** 2) + b[0] * b[1] + 10,
        dist.Bernoulli(logits=jnp.array([0.2, -0.4])),
        key=jax.random.key(0),
        n_samples=2000,
    )
    assert biased.bias_z[0] > 6


def test_a_numpy_function_must_return_real_numbers():
    f = numpy_function(lambda b: b.sum(axis=1) + 1j)
    with pytest.raises(Exception, match="must return real numbers, got complex"):
        jax.block_until_ready(
            expect(
                f,
                dist.Bernoulli(logits=jnp.zeros(2)),
                key=jax.random.key(0),
                estimator=LeaveOneOut(),
                n_samples=2,
            )
        )
    for values in (lambda b: np.array(["a"] * len(b)), lambda b: np.array([None] * len(b))):
        with pytest.raises(Exception, match="must return real numbers"):
            jax.block_until_ready(numpy_function(values)(jnp.zeros(2)))
