"""The problems that all estimators are tried on, with exact gradients that share no code with them."""

import itertools
from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from backthrough.estimators import OneHotCategorical, expect
from backthrough.estimators.families import read_distribution

LOGITS = np.array([0.5, -1.0, 1.5, 0.0])
WEIGHT = np.random.RandomState(0).randn(4, 4)
TARGET = np.linspace(0.2, 0.9, 4)
CATEGORY_LOGITS = np.array([[0.3, -0.7, 1.1, 0.0, 0.4], [-0.5, 0.2, 0.9, -1.3, 0.1]])
CATEGORY_WEIGHT = np.random.RandomState(1).randn(5, 5)
LOC, SCALE = 0.7, 1.3


def quadratic(b):
    return jnp.sum((b - TARGET) ** 2) + jnp.tanh(b @ WEIGHT @ b)


def on_one_hot(b):
    return jnp.tanh(b[0] @ CATEGORY_WEIGHT @ b[1]) + jnp.sum((b[0] - 0.3 * b[1]) ** 2)


def on_index(b):
    return jnp.asarray(CATEGORY_WEIGHT)[b[0], b[1]] + 0.1 * b[0]


def square(b):
    return jnp.sum(b**2)


def on_mixture(b):
    return b["x"] ** 2 * b["on"][0] + jnp.sin(b["x"]) * b["on"][1] + b["on"] @ b["on"]


def mixture(params):
    return {
        "on": dist.Bernoulli(logits=params["on"]),
        "x": dist.Normal(params["x"][0], jnp.exp(params["x"][1])),
    }


# name -> (f, params -> distribution, params)
PROBLEMS = {
    "bernoulli": (quadratic, lambda p: dist.Bernoulli(logits=p), LOGITS),
    "one-hot": (on_one_hot, lambda p: OneHotCategorical(logits=p), CATEGORY_LOGITS),
    "index": (on_index, lambda p: dist.Categorical(logits=p), CATEGORY_LOGITS),
    "normal": (square, lambda p: dist.Normal(p[0], jnp.exp(p[1])), np.array([LOC, np.log(SCALE)])),
    "mixture": (on_mixture, mixture, {"on": np.array([0.4, -0.6]), "x": np.array([LOC, np.log(SCALE)])}),
}


@cache
def exact(name):
    """The gradient by enumeration in NumPy (or in closed form), as one vector in the order of `flat`."""
    if name == "normal":
        return np.array([2 * LOC, 2 * SCALE**2])
    if name == "mixture":
        # E = p0 (m^2 + s^2) + p1 sin(m) exp(-s^2 / 2) + p0 + p1
        p = 1 / (1 + np.exp(-np.array([0.4, -0.6])))
        wave = np.sin(LOC) * np.exp(-(SCALE**2) / 2)
        to_on = p * (1 - p) * np.array([LOC**2 + SCALE**2 + 1, wave + 1])
        to_loc = 2 * LOC * p[0] + p[1] * np.cos(LOC) * np.exp(-(SCALE**2) / 2)
        to_log_scale = 2 * SCALE**2 * p[0] - p[1] * wave * SCALE**2
        return np.concatenate([to_on, [to_loc, to_log_scale]])
    f, _, params = PROBLEMS[name]
    if name == "bernoulli":
        probs = np.stack([1 - 1 / (1 + np.exp(-params)), 1 / (1 + np.exp(-params))], axis=-1)
    else:
        probs = np.exp(params) / np.exp(params).sum(-1, keepdims=True)
    gradient = np.zeros_like(params)
    evaluate = jax.jit(f)
    for codes in itertools.product(*[range(probs.shape[1])] * len(probs)):
        weight = np.prod([probs[i, code] for i, code in enumerate(codes)])
        b = {
            "bernoulli": np.array(codes, float),
            "one-hot": np.eye(probs.shape[1])[list(codes)],
            "index": np.array(codes),
        }[name]
        hits = np.array(codes, float) if name == "bernoulli" else np.eye(probs.shape[1])[list(codes)]
        score = hits - (probs[:, 1] if name == "bernoulli" else probs)
        gradient += weight * float(evaluate(jnp.asarray(b))) * score
    return gradient.reshape(-1)


def takes(estimator, name):
    """Whether the estimator works for the problem's distribution."""
    _, distribution, params = PROBLEMS[name]
    joint, _ = read_distribution(distribution(jax.tree_util.tree_map(jnp.asarray, params)))
    return estimator.properties.take(joint)


def flat(tree):
    """Gradients with a leading axis of draws as a matrix in float64."""
    return np.concatenate(
        [np.asarray(leaf, np.float64).reshape(len(leaf), -1) for leaf in jax.tree_util.tree_leaves(tree)], 1
    )


def draws(name, estimator, n_samples, n_draws, seed=1):
    """`n_draws` independent gradients."""
    f, distribution, params = PROBLEMS[name]
    params = jax.tree_util.tree_map(lambda leaf: jnp.asarray(leaf, jnp.result_type(float)), params)

    def one(key):
        return jax.grad(
            lambda p: expect(f, distribution(p), key=key, estimator=estimator, n_samples=n_samples)
        )(params)

    return flat(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(seed), n_draws)))


def z_scores(sample, truth):
    """Differences in standard errors; what is constant may be off by rounding."""
    return (sample.mean(0) - truth) / (sample.std(0) / np.sqrt(len(sample)) + 1e-6)


class Constant(eqx.Module):
    """A control variate, or a baseline, that is one number."""

    value: jax.Array

    def __call__(self, z=None):
        return self.value


def constant():
    return Constant(jnp.asarray(0.3))
