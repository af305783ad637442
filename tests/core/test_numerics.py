"""Against exact arithmetic (mpmath-free: Python's decimal and fractions) and closed-form gradients."""

import math
from decimal import Decimal, getcontext

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backthrough.core import log1mexp, log_mean_exp, log_odds, safe_norm

getcontext().prec = 60
EPS = float(jnp.finfo(jnp.result_type(float)).eps)


def exact_log1mexp(x: float) -> float:
    return float((1 - (-Decimal(x)).exp()).ln())


@pytest.mark.parametrize("x", [1e-30, 1e-7, 0.1, 0.6931471, 0.6931472, 1.0, 5.0, 16.0, 40.0, 80.0])
def test_log1mexp_is_exact_for_small_and_large_arguments(x):
    x = float(jnp.asarray(x))  # the value that the function sees in this precision
    np.testing.assert_allclose(log1mexp(jnp.asarray(x)), exact_log1mexp(x), rtol=8 * EPS)


@pytest.mark.parametrize("x", [1e-20, 1e-3, 0.5, 1.0, 30.0, 85.0])
def test_log1mexp_gradient(x):
    x = float(jnp.asarray(x))
    exact = float(1 / (Decimal(x).exp() - 1))
    np.testing.assert_allclose(jax.grad(log1mexp)(jnp.asarray(x)), exact, rtol=8 * EPS)


def test_log1mexp_at_the_edges():
    assert log1mexp(jnp.asarray(0.0)) == -jnp.inf
    assert log1mexp(jnp.asarray(jnp.inf)) == 0.0


@pytest.mark.parametrize("p", [1e-30, 0.25, 0.5, 0.999])
def test_log_odds_inverts_the_logistic(p):
    np.testing.assert_allclose(jax.nn.sigmoid(log_odds(jnp.asarray(p))), p, rtol=100 * EPS)


def test_log_odds_at_the_edges():
    np.testing.assert_array_equal(log_odds(jnp.array([0.0, 1.0])), [-jnp.inf, jnp.inf])


def test_log_mean_exp_neither_overflows_nor_underflows():
    for shift in (-1e4, 0.0, 1e4):
        values = jnp.array([shift, shift + math.log(3.0)])
        np.testing.assert_allclose(log_mean_exp(values) - shift, math.log(2.0), rtol=1e-3, atol=2e4 * EPS)


def test_log_mean_exp_over_axes_equals_the_plain_formula():
    values = jax.random.normal(jax.random.key(0), (3, 4, 5))
    for axis in (None, 0, (0, 2), -1):
        expected = jnp.log(jnp.exp(values).mean(axis))
        np.testing.assert_allclose(log_mean_exp(values, axis), expected, rtol=100 * EPS, atol=100 * EPS)


def test_log_mean_exp_gradient_ignores_impossible_entries():
    gradient = jax.grad(lambda v: log_mean_exp(v))(jnp.array([0.0, -jnp.inf, 0.0]))
    np.testing.assert_allclose(gradient, [0.5, 0.0, 0.5], rtol=4 * EPS)


def test_safe_norm_value_and_gradient():
    x = jnp.array([3.0, -4.0])
    np.testing.assert_allclose(safe_norm(x), 5.0, rtol=4 * EPS)
    np.testing.assert_allclose(jax.grad(safe_norm)(x), [0.6, -0.8], rtol=4 * EPS)
    np.testing.assert_array_equal(jax.grad(safe_norm)(jnp.zeros(3)), jnp.zeros(3))
    assert safe_norm(jnp.zeros(3)) == 0.0
    assert jnp.isnan(safe_norm(jnp.array([jnp.nan, 1.0])))
    assert safe_norm(jnp.array([jnp.inf, 1.0])) == jnp.inf


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_safe_norm_neither_overflows_nor_underflows(scale):
    x = jnp.array([3.0, 4.0]) * scale
    np.testing.assert_allclose(safe_norm(x) / scale, 5.0, rtol=8 * EPS)
    np.testing.assert_allclose(jax.grad(safe_norm)(x), [0.6, 0.8], rtol=8 * EPS)


def test_safe_norm_over_an_axis_under_vmap_and_jit():
    x = jax.random.normal(jax.random.key(1), (4, 3)).at[2].set(0.0)
    expected = np.linalg.norm(np.asarray(x), axis=1)
    np.testing.assert_allclose(safe_norm(x, axis=1), expected, rtol=8 * EPS)
    np.testing.assert_allclose(jax.jit(jax.vmap(safe_norm))(x), expected, rtol=8 * EPS)
    assert jnp.isfinite(jax.vmap(jax.grad(safe_norm))(x)).all()
