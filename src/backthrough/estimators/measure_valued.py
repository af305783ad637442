"""Differences of f between pairs of distributions of one variable, the others held fixed."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from backthrough.core import PRNGKey, PyTree, Scalar
from backthrough.estimators.attach import attach
from backthrough.estimators.estimator import Estimator, Problem, Properties, sample_keys
from backthrough.estimators.joint import FAMILY_NAMES, Parts


class MeasureValued(Estimator):
    """For each variable in turn, f under the two parts of the derivative of its distribution.

    Discrete variables: all outcomes of the one variable, exactly (also called local expectation gradients,
    Titsias and Lazaro-Gredilla 2015). Normal variables: coupled draws, Rayleigh for the mean, double-sided
    Maxwell against normal for the scale (Mohamed et al. 2020, sec. 6). Very low variance; the number of
    evaluations grows with the number of variables.
    """

    @property
    def properties(self) -> Properties:
        """Unbiased, for values of f only."""
        return Properties(True, False, False, FAMILY_NAMES)

    def estimate(self, problem: Problem, *, key: PRNGKey, n_samples: int) -> Scalar:
        """The mean over `n_samples` draws of all variables."""
        joint, params = problem.joint, problem.fixed_params()

        def draw(key: PRNGKey) -> tuple[Scalar, Parts]:
            own_key, *keys = jax.random.split(key, 1 + len(joint.families))
            b = joint.sample(params, key=own_key)
            gradients = []
            for place, family in enumerate(joint.families):
                one = _discrete if family.discrete else _normal
                gradients.append(one(problem, params, b, place, keys[place]))
            return problem.value(b), gradients

        values, gradients = jax.vmap(draw)(sample_keys(key, n_samples))
        return attach(values, problem.params, gradients)

    def n_evaluations(self, problem: Problem, n_samples: int) -> int:
        """One for each outcome of each discrete variable, four for each normal one, and one for the value."""
        total = 1
        for family, own in zip(problem.joint.families, problem.params, strict=True):
            total += sum(family.outcomes(own)) if family.discrete else 4 * own[0].size
        return n_samples * total


def _value(problem: Problem, b: Parts, place: int, part: Array) -> Scalar:
    """f with one distribution's sample replaced; held fixed."""
    return jax.lax.stop_gradient(problem.value([*b[:place], part, *b[place + 1 :]]))


def _discrete(problem: Problem, params: Parts, b: Parts, place: int, key: PRNGKey) -> Array:
    """p_k (f_k - sum_j p_j f_j) for each outcome k of each variable."""
    family, logits = problem.joint.families[place], params[place]
    binary = family.name == "Bernoulli"
    probs = (
        jnp.stack([jax.nn.sigmoid(-logits), jax.nn.sigmoid(logits)], -1) if binary else jax.nn.softmax(logits)
    )
    rows = probs.reshape(-1, probs.shape[-1])
    now = jnp.argmax(b[place], axis=-1) if family.name == "OneHotCategorical" else b[place]
    codes = now.reshape(-1).astype(jnp.int32)

    def at(variable: Array, outcome: Array) -> Scalar:
        changed = codes.at[variable].set(outcome)
        return _value(problem, b, place, family.decode(logits, changed))

    every = jnp.arange(rows.shape[1], dtype=jnp.int32)
    values = jax.vmap(lambda variable: jax.vmap(lambda k: at(variable, k))(every))(jnp.arange(len(rows)))
    gradient = rows * (values - jnp.sum(rows * values, axis=1, keepdims=True))
    return gradient[:, 1].reshape(logits.shape) if binary else gradient.reshape(logits.shape)


def _normal(problem: Problem, params: Parts, b: Parts, place: int, key: PRNGKey) -> PyTree:
    """To loc and to scale, from coupled draws for each variable."""
    loc, scale = (own.reshape(-1) for own in params[place])
    shape, size = params[place][0].shape, loc.size
    keys = jax.random.split(key, 4)
    rayleigh = jnp.sqrt(-2 * jnp.log1p(-jax.random.uniform(keys[0], (size,), loc.dtype)))
    three = jax.random.normal(keys[1], (3, size), loc.dtype)
    maxwell = jnp.linalg.norm(three, axis=0) * jax.random.rademacher(keys[2], (size,), loc.dtype)
    normal = maxwell * jax.random.uniform(keys[3], (size,), loc.dtype)

    def at(standard: Float[Array, "variable"]) -> Float[Array, "variable"]:
        """f with each variable in turn at loc + scale * standard."""

        def one(variable: Array) -> Scalar:
            new = loc[variable] + scale[variable] * standard[variable]
            return _value(problem, b, place, b[place].reshape(-1).at[variable].set(new).reshape(shape))

        return jax.vmap(one)(jnp.arange(size))

    to_loc = (at(rayleigh) - at(-rayleigh)) / (scale * jnp.sqrt(2 * jnp.pi))
    to_scale = (at(maxwell) - at(normal)) / scale
    return to_loc.reshape(shape), to_scale.reshape(shape)
