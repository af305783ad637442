"""What trains a control variate is the gradient of the variance, and reaches nothing else."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from backthrough.estimators import (
    LAX,
    RELAX,
    RODEO,
    DoubleCV,
    Enumeration,
    ScoreFunction,
    expect,
    value_and_grad,
)
from backthrough.estimators.estimator import sample_keys
from backthrough.estimators.families import read_distribution
from estimators.problems import Constant, flat, z_scores

LOGITS = np.array([0.4, -0.9])
P = 1 / (1 + np.exp(-LOGITS))


def f(b):
    return 2 * b[0] - b[1] ** 2 + 3 * b[0] * b[1] + 0.5


class Shrunk(eqx.Module):
    """A control variate for RODEO that the estimate is linear in."""

    scale: jax.Array

    def __call__(self, pair):
        return self.scale * jnp.stack([jnp.sin(pair[0]), jnp.cos(pair[0]) * pair[1]])


def mean(logits, estimator, key, n_samples):
    return expect(f, dist.Bernoulli(logits=logits), key=key, estimator=estimator, n_samples=n_samples)


def one_key_for_each_tuple(n_samples):
    """Keys that draw every tuple of samples once, and the tuples' probabilities."""
    joint, params = read_distribution(dist.Bernoulli(logits=jnp.asarray(LOGITS)))
    keys = jax.random.split(jax.random.key(0), 20_000)
    draw = jax.vmap(lambda key: joint.sample(params, key=key)[0])
    found = np.asarray(jax.jit(jax.vmap(lambda key: draw(sample_keys(key, n_samples))))(keys))
    tuples, first = np.unique(found.reshape(len(found), -1), axis=0, return_index=True)
    assert len(tuples) == 4**n_samples
    bits = tuples.reshape(-1, n_samples, 2)
    return keys[first], np.prod(np.where(bits > 0, P, 1 - P), axis=(1, 2))


@pytest.mark.parametrize(
    ("make", "n_samples"),
    [
        (DoubleCV, 2),
        (DoubleCV, 3),
        (lambda scale: RODEO(Shrunk(scale)), 2),
        (lambda scale: RODEO(Shrunk(scale)), 3),
        (lambda scale: ScoreFunction(Constant(scale)), 3),
    ],
)
def test_the_gradient_is_that_of_the_variance(make, n_samples):
    """All tuples of samples, each with its probability; the variance is a parabola in what is trained."""
    keys, p = one_key_for_each_tuple(n_samples)

    @jax.jit
    def slopes(scale):
        one = jax.grad(lambda logits, scale, key: mean(logits, make(scale), key, n_samples), (0, 1))
        return jax.vmap(one, (None, None, 0))(jnp.asarray(LOGITS, scale.dtype), scale, keys)

    def variance(scale):
        gradients = np.asarray(slopes(jnp.asarray(scale))[0], np.float64)
        return p @ np.sum((gradients - p @ gradients) ** 2, axis=1)

    for scale in (-0.5, 0.7):
        ours = p @ np.asarray(slopes(jnp.asarray(scale))[1], np.float64)
        expected = variance(scale + 0.5) - variance(scale - 0.5)
        assert abs(expected) > 1e-3
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)


def exact():
    every = np.array(list(itertools.product((0.0, 1.0), repeat=2)))
    p = np.prod(np.where(every > 0, P, 1 - P), axis=1)
    return sum(weight * float(f(b)) * (b - P) for weight, b in zip(p, every, strict=True))


def test_the_oracle_agrees_with_enumeration():
    ours = jax.jit(jax.grad(lambda p: mean(p, Enumeration(), jax.random.key(0), 1)))(jnp.asarray(LOGITS))
    np.testing.assert_allclose(ours, exact(), rtol=1e-5, atol=1e-6)


class WithLogits(eqx.Module):
    """A control variate, or baseline, with a number of its own and the logits in it."""

    value: jax.Array
    logits: jax.Array

    def __call__(self, z=None):
        return self.value * jnp.sum(jnp.tanh(self.logits)) + (0.0 if z is None else jnp.sum(jnp.tanh(z)))


def closed_over(logits):
    """The same, with the logits in a closure."""
    return eqx.Partial(lambda value, z=None: WithLogits(value, logits)(z), jnp.asarray(5.0))


@pytest.mark.parametrize("kind", [ScoreFunction, RELAX])
@pytest.mark.parametrize("make", [closed_over, lambda logits: WithLogits(jnp.asarray(5.0), logits)])
def test_the_variance_does_not_reach_the_parameters(kind, make):
    """20,000 gradients within 6 standard errors of the exact one: 8 comparisons, a false alarm in 2e-8."""

    def total(logits, key):
        return mean(logits, kind(make(logits)), key, 1)

    keys = jax.random.split(jax.random.key(3), 20_000)
    found = jax.jit(jax.vmap(jax.grad(total), (None, 0)))(jnp.asarray(LOGITS), keys)
    assert np.abs(z_scores(flat(found), exact())).max() < 6


def test_a_normal_control_that_closes_over_the_parameters():
    """LAX, E[b^2] at N(loc, 1): slope 2 loc. One comparison within 6 standard errors."""

    def total(loc, key):
        control = eqx.Partial(lambda scale, z: scale * (z + loc) ** 2, jnp.asarray(0.7))
        return expect(jnp.square, dist.Normal(loc, 1.0), key=key, estimator=LAX(control))

    found = jax.jit(jax.vmap(jax.grad(total), (None, 0)))(0.8, jax.random.split(jax.random.key(1), 20_000))
    assert np.abs(z_scores(flat(found), 1.6)).max() < 6


def test_value_and_grad_takes_the_estimator_as_it_is():
    """Its gradient never passes through the estimator: the same with logits in it, held fixed or not."""
    logits = jnp.asarray(LOGITS)

    @eqx.filter_jit
    def slopes(logits, own):
        _, grads, aux = value_and_grad(
            f, lambda p: dist.Bernoulli(logits=p), logits, key=jax.random.key(2), estimator=own
        )
        return grads, aux.control_grads

    grads, aux = slopes(logits, RELAX(WithLogits(jnp.asarray(5.0), logits)))
    again, _ = slopes(logits, RELAX(closed_over(np.asarray(LOGITS))))
    np.testing.assert_allclose(grads, again, rtol=1e-6)
    assert float(jnp.abs(aux.control.value)) > 0
