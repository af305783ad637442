"""Estimators for Bernoulli variables from pairs of samples made of u and 1 - u."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from backthrough.core import PRNGKey, Scalar
from backthrough.estimators.attach import attach
from backthrough.estimators.estimator import Estimator, Problem, Properties
from backthrough.estimators.families import BernoulliFamily, Parts

PAIRS_OF_BITS = Properties(unbiased=True, families=(BernoulliFamily,), least_samples=2, in_pairs=True)
Values = Float[Array, "..."]


class ARM(Estimator):
    """(f(b) - f(b')) (u - 1/2) with b = 1[u > sigmoid(-l)], b' = 1[u < sigmoid(l)] (Yin and Zhou 2019).

    `DisARM` is never worse.
    """

    @property
    def properties(self) -> Properties:
        """Unbiased, for values of f only."""
        return PAIRS_OF_BITS

    def estimate(self, problem: Problem, *, key: PRNGKey, n_samples: int) -> Scalar:
        """The mean over `n_samples` / 2 pairs."""

        def weigh(logits: Values, noise: Values, b: Values, other: Values) -> Values:
            return jnp.where(jnp.isnan(logits), jnp.nan, 2 * jax.nn.sigmoid(noise) - 1)

        return _over_pairs(problem, key, n_samples, weigh)

    def n_evaluations(self, problem: Problem, n_samples: int) -> int:
        """One a sample."""
        return n_samples


class DisARM(Estimator):
    """The mean of ARM given the pair: (f(b) - f(b'))/2 (b - b') sigmoid(|l|).

    Dong et al. 2020, eq. 6; found independently as U2G (Yin et al. 2020).
    """

    @property
    def properties(self) -> Properties:
        """Unbiased, for values of f only."""
        return PAIRS_OF_BITS

    def estimate(self, problem: Problem, *, key: PRNGKey, n_samples: int) -> Scalar:
        """The mean over `n_samples` / 2 pairs."""

        def weigh(logits: Values, noise: Values, b: Values, other: Values) -> Values:
            return (b - other) * jax.nn.sigmoid(jnp.abs(logits))

        return _over_pairs(problem, key, n_samples, weigh)

    def n_evaluations(self, problem: Problem, n_samples: int) -> int:
        """One a sample."""
        return n_samples


def _over_pairs(problem: Problem, key: PRNGKey, n_samples: int, weigh: Callable[..., Values]) -> Scalar:
    """The mean over pairs of half the difference of f times a weight for each variable."""
    params, joint = problem.fixed_params(), problem.joint

    def draw(key: PRNGKey) -> tuple[Scalar, Parts]:
        noise = joint.noise(params, key=key)
        mirrored = [-own for own in noise]
        pair = [joint.harden(joint.relax(params, own)) for own in (noise, mirrored)]
        both = jax.tree_util.tree_map(lambda *own: jnp.stack(own), *pair)
        values = jax.vmap(problem.value)(both)
        first, second = jax.lax.stop_gradient(values)
        weights = [weigh(*own) for own in zip(params, noise, *pair, strict=True)]
        return values.mean(), [0.5 * (first - second) * weight for weight in weights]

    values, gradients = jax.vmap(draw)(jax.random.split(key, n_samples // 2))
    return attach(values, problem.params, gradients)
