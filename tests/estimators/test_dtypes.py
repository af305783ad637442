"""Half precision is computed in single precision; what comes back has the caller's types."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from backthrough.estimators import (
    REBAR,
    RELAX,
    OneHotCategorical,
    ScoreFunction,
    compare,
    default_estimators,
    expect,
    suitable_estimators,
    value_and_grad,
    vimco,
)
from backthrough.estimators.families import read_distribution

HALF = (jnp.bfloat16, jnp.float16)
N = 40_000


def total(b):
    return jnp.sum(b)


def mean_gradient(estimator, f, make, params, n_samples):
    """Of N draws, in double precision, with its standard error."""

    @jax.jit
    @jax.vmap
    def one(key):
        return jax.grad(lambda p: expect(f, make(p), key=key, estimator=estimator, n_samples=n_samples))(
            params
        )

    found = np.asarray(one(jax.random.split(jax.random.key(0), N)), np.float64).reshape(N, -1)
    return found.mean(0), found.std(0, ddof=1) / np.sqrt(N)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("DisARM", jnp.bfloat16), ("ScoreFunction", jnp.float16)]
    + [
        pytest.param(name, dtype, marks=pytest.mark.slow)
        for name in ("ScoreFunction", "LeaveOneOut", "DisARM", "RELAX", "MeasureValued", "DiCE")
        for dtype in HALF
    ],
)
def test_a_rare_bit_is_drawn_in_half_precision(dtype, name):
    """d E[b] / d logit is p (1 - p), .002467 at a logit of -6; rounding of half precision: 2^-8.

    Thirteen tests of one z below 6 each: a false alarm in 1e-8 of all runs.
    """
    estimator = default_estimators()[name]
    n_samples = estimator.properties.least_samples
    logits = jnp.array([-6.0], dtype)
    p = 1 / (1 + np.exp(6.0))
    mean, error = mean_gradient(estimator, total, lambda own: dist.Bernoulli(logits=own), logits, n_samples)
    assert abs(mean[0] - p * (1 - p)) < 6 * error[0] + 2**-8 * p
    assert mean[0] > 0


@pytest.mark.parametrize("dtype", HALF)
def test_a_relaxed_one_hot_sample_keeps_its_category(dtype):
    logits = jnp.array([0.0, -3.0, 1.0], dtype)
    joint, params = read_distribution(OneHotCategorical(logits=logits))

    @jax.vmap
    def agrees(key):
        first, second = jax.random.split(key)
        z = joint.relax(params, joint.noise(params, key=first))
        b = joint.harden(z)
        again = joint.harden(joint.condition(params, b, joint.noise(params, key=second)))
        return jnp.all(b[0] == again[0])

    assert agrees(jax.random.split(jax.random.key(0), 100_000)).all()


@pytest.mark.parametrize(
    "dtype",
    [jnp.bfloat16, *(pytest.param(own, marks=pytest.mark.slow) for own in (jnp.float16, jnp.float32))],
)
def test_types_come_back_as_they_were_given(dtype):
    """Under double precision too, where new numbers are float64 by default."""
    logits = jnp.zeros(3, dtype)
    seen = []

    def f(b):
        seen.append(b.dtype)
        return jnp.sum((b - jnp.asarray(0.45, b.dtype)) ** 2)

    problem = dist.Bernoulli(logits=logits)
    for name, estimator in suitable_estimators(f, problem).items():
        n = estimator.properties.least_samples
        both = jax.value_and_grad(
            lambda own, e=estimator, n=n: expect(
                f, dist.Bernoulli(logits=own), key=jax.random.key(0), estimator=e, n_samples=n
            )
        )
        value, slope = jax.eval_shape(both, logits)
        assert (value.dtype, slope.dtype) == (dtype, dtype), name
    assert set(seen) == {jnp.dtype(dtype)}
    one_hot = jnp.zeros((2, 3), dtype)
    for estimator in (REBAR(), REBAR(coupled=True)):
        gradient = jax.grad(
            lambda own, e=estimator: expect(
                f, OneHotCategorical(logits=own), key=jax.random.key(0), estimator=e
            )
        )
        slope = jax.eval_shape(gradient, one_hot)
        assert slope.dtype == dtype
    both = jax.value_and_grad(
        lambda own: vimco(total, dist.Bernoulli(logits=own), key=jax.random.key(0), n_samples=3)
    )
    bound, slope = jax.eval_shape(both, logits)
    assert (bound.dtype, slope.dtype) == (dtype, dtype)


def test_a_control_of_another_precision_works():
    """As when a control variate was made under double precision, for parameters in single precision."""
    control = eqx.nn.MLP(3, "scalar", 4, 1, dtype=jnp.float16, key=jax.random.key(0))
    logits = jnp.zeros(3, jnp.float32)
    for estimator in (RELAX(control), RELAX(control, temperature=0.5), ScoreFunction()):
        value, grads, aux = eqx.filter_eval_shape(
            value_and_grad,
            total,
            lambda own: dist.Bernoulli(logits=own),
            logits,
            key=jax.random.key(0),
            estimator=estimator,
        )
        assert (value.dtype, grads.dtype) == (jnp.float32, jnp.float32)
        for own, slope in zip(
            jax.tree_util.tree_leaves(eqx.filter(estimator, eqx.is_inexact_array)),
            jax.tree_util.tree_leaves(aux.control_grads),
            strict=True,
        ):
            assert own.dtype == slope.dtype


def test_half_precision_is_compared_with_its_own_enumeration():
    found = compare(
        {name: default_estimators()[name] for name in ("ScoreFunction", "DisARM", "REBAR")},
        lambda b: jnp.sum((b - jnp.asarray(0.45, b.dtype)) ** 2),
        dist.Bernoulli(logits=jnp.array([-2.0, 0.5], jnp.bfloat16)),
        key=jax.random.key(0),
        n_samples=2000,
    )
    assert (found.bias_z < 6).all()
