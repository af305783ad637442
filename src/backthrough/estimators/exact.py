"""The exact expectation of a function of few discrete variables."""

import jax
import jax.numpy as jnp

from backthrough.core import ArgumentError, PRNGKey, Scalar
from backthrough.estimators.estimator import Estimator, Problem, Properties
from backthrough.estimators.families import FiniteFamily

MOST_OUTCOMES = 4096


class Enumeration(Estimator):
    """The sum over all outcomes of p(b) f(b): exact, with derivatives of every order, at probability 0 too.

    At most 4,096 outcomes in all: 12 Bernoulli variables.
    """

    @property
    def properties(self) -> Properties:
        """Exact, for values of f only."""
        return Properties(unbiased=True, families=(FiniteFamily,))

    def estimate(self, problem: Problem, *, key: PRNGKey, n_samples: int) -> Scalar:
        """The sum. `key` and `n_samples` change nothing.

        Raises:
            ArgumentError: if there are too many outcomes.
        """
        n_outcomes = problem.joint.n_outcomes(problem.params)
        if n_outcomes > MOST_OUTCOMES:
            raise ArgumentError(
                f"Enumeration would need {n_outcomes:,} outcomes; at most {MOST_OUTCOMES:,} are enumerated. "
                "Use DisARM, LeaveOneOut or RELAX"
            )
        outcomes = problem.joint.all_outcomes(problem.params)
        values = jax.vmap(problem.value)(outcomes)
        probs = problem.joint.outcome_probabilities(problem.params, problem.given_probs)
        return jnp.sum(probs * (1 + problem.fault()) * values)

    def n_evaluations(self, problem: Problem, n_samples: int) -> int:
        """One for each outcome."""
        return problem.joint.n_outcomes(problem.params)
