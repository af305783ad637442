"""Differences of f between pairs of distributions of one variable, the others held fixed."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from backthrough.core import PRNGKey, PyTree, Scalar
from backthrough.estimators.attach import attach
from backthrough.estimators.estimator import Estimator, Problem, Properties, sample_keys
from backthrough.estimators.families import FiniteFamily, Parts, WeakDerivativeFamily

Value = Callable[[Array], Scalar]


class MeasureValued(Estimator):
    """For each variable in turn, f under the two parts of the derivative of its distribution.

    Finite families: all outcomes of the one variable, exactly (also called local expectation gradients,
    Titsias and Lazaro-Gredilla 2015). Others: coupled draws from both parts, as their family makes them
    (Mohamed et al. 2020, sec. 6). Very low variance; the number of evaluations grows with the number of
    variables.
    """

    @property
    def properties(self) -> Properties:
        """Unbiased, for values of f only."""
        return Properties(unbiased=True, families=(FiniteFamily, WeakDerivativeFamily))

    def estimate(self, problem: Problem, *, key: PRNGKey, n_samples: int) -> Scalar:
        """The mean over `n_samples` draws of all variables."""
        joint, params = problem.joint, problem.fixed_params()

        def draw(key: PRNGKey) -> tuple[Scalar, Parts]:
            own_key, *keys = jax.random.split(key, 1 + len(joint.families))
            b = joint.sample(params, key=own_key)
            gradients = []
            for place, (family, own) in enumerate(zip(joint.families, params, strict=True)):

                def value(part: Array, place: int = place) -> Scalar:
                    """f with one distribution's sample replaced; held fixed."""
                    return jax.lax.stop_gradient(problem.value([*b[:place], part, *b[place + 1 :]]))

                if isinstance(family, FiniteFamily):
                    gradients.append(_over_outcomes(family, own, b[place], value))
                else:
                    gradients.append(_over_two_parts(family, own, b[place], value, keys[place]))
            return problem.value(b), gradients

        values, gradients = jax.vmap(draw)(sample_keys(key, n_samples))
        return attach(values, problem.params, gradients)

    def n_evaluations(self, problem: Problem, n_samples: int) -> int:
        """One for each outcome of each finite variable, two for each other parameter, one for the value."""
        total = 1
        for family, own in zip(problem.joint.families, problem.params, strict=True):
            if isinstance(family, FiniteFamily):
                total += jax.eval_shape(family.outcome_probs, own).size
            else:
                total += 2 * sum(leaf.size for leaf in jax.tree_util.tree_leaves(own))
        return n_samples * total


def _over_outcomes(family: FiniteFamily, params: PyTree, b: Array, value: Value) -> PyTree:
    """The sum over each variable's outcomes k of f_k grad p_k."""
    probs, pull = jax.vjp(family.outcome_probs, params)
    codes = family.encode(params, b)

    def at(variable: Array, outcome: Array) -> Scalar:
        return value(family.decode(params, codes.at[variable].set(outcome)))

    n_variables, n_outcomes = probs.shape
    every = jnp.arange(n_outcomes, dtype=codes.dtype)
    values = jax.vmap(lambda variable: jax.vmap(lambda k: at(variable, k))(every))(jnp.arange(n_variables))
    centred = values - values.mean(axis=1, keepdims=True)  # sum grad p_k is 0: so less is rounded off
    return pull(centred.astype(probs.dtype))[0]


def _over_two_parts(
    family: WeakDerivativeFamily, params: PyTree, b: Array, value: Value, key: PRNGKey
) -> PyTree:
    """For each parameter, factor times the difference of f under the two parts."""

    def difference(factor: Array, first: Array, second: Array) -> Array:
        def at(variable: Array, new: Array) -> Scalar:
            return value(b.reshape(-1).at[variable].set(new.reshape(-1)[variable]).reshape(b.shape))

        change = jax.vmap(lambda variable: at(variable, first) - at(variable, second))(jnp.arange(b.size))
        return factor * change.reshape(b.shape)

    return jax.tree_util.tree_map(difference, *family.weak_derivative(params, key=key))
