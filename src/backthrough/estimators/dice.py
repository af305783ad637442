"""Score-function gradients of every order."""

import jax
import jax.numpy as jnp

from backthrough.core import PRNGKey, Scalar
from backthrough.estimators.estimator import Estimator, Problem, Properties, sample_keys
from backthrough.estimators.families import Family


class DiCE(Estimator):
    """f(b) times exp(log p(b) - its own value): one in value, the score in derivative (Foerster et al. 2018).

    Derivatives of every order, also mixed ones with what f closes over, are unbiased. There is no baseline,
    so that the variance is that of `ScoreFunction` or more.
    """

    @property
    def properties(self) -> Properties:
        """Unbiased in every derivative, for values of f only."""
        return Properties(unbiased=True, families=(Family,))

    def estimate(self, problem: Problem, *, key: PRNGKey, n_samples: int) -> Scalar:
        """The mean over `n_samples` draws."""
        fixed = problem.fixed_params()

        def draw(key: PRNGKey) -> Scalar:
            b = problem.joint.sample(fixed, key=key)
            log_prob = problem.joint.log_prob(problem.params, b)
            return problem.value(b) * jnp.exp(log_prob - jax.lax.stop_gradient(log_prob))

        return jax.vmap(draw)(sample_keys(key, n_samples)).mean()

    def n_evaluations(self, problem: Problem, n_samples: int) -> int:
        """One a sample."""
        return n_samples
