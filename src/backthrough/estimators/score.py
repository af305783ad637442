"""Score-function estimators: no gradient of f, any distribution."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from backthrough.core import ArgumentError, PRNGKey, Scalar
from backthrough.estimators.attach import attach
from backthrough.estimators.estimator import (
    Estimator,
    Problem,
    Properties,
    hold_closure,
    one_number,
    sample_keys,
    scaled,
)
from backthrough.estimators.families import Family, Parts


class ScoreFunction(Estimator):
    """(f(b) - baseline) grad log p(b), also called REINFORCE (Williams 1992).

    Attributes:
        baseline: None; or a callable without arguments that returns one number, which must not depend on b:
            `MovingAverage`, or a network at an input, `eqx.Partial(network, x)`. Its arrays are trained by
            the gradient of the variance; what it closes over is held fixed.
    """

    baseline: Callable[[], Any] | None = None

    @property
    def properties(self) -> Properties:
        """Unbiased, for values of f only."""
        return Properties(unbiased=True, families=(Family,))

    def estimate(self, problem: Problem, *, key: PRNGKey, n_samples: int) -> Scalar:
        """The mean over `n_samples` draws."""
        params = problem.fixed_params()
        baseline = jnp.zeros(())
        if self.baseline is not None:
            baseline = one_number("baseline", hold_closure("baseline", self.baseline)())

        def draw(key: PRNGKey) -> tuple[Scalar, Parts]:
            b = problem.joint.sample(params, key=key)
            value = problem.value(b)
            advantage = jax.lax.stop_gradient(value) - baseline
            return value, scaled(advantage, problem.joint.score(params, b))

        values, gradients = jax.vmap(draw)(sample_keys(key, n_samples))
        return attach(values, problem.params, gradients)

    def n_evaluations(self, problem: Problem, n_samples: int) -> int:
        """One a sample."""
        return n_samples


class MovingAverage(eqx.Module):
    """A baseline that follows the mean of f; `update` returns the next one.

        >>> baseline = MovingAverage(decay=0.5).update(jnp.asarray(4.0))
        >>> float(baseline())
        4.0

    Attributes:
        decay: Weight of the past in each update.
        total: Decayed sum of the values.
        weight: Decayed sum of their weights, so that the first averages are not drawn to 0.
    """

    decay: float
    total: Scalar
    weight: Scalar

    def __init__(self, decay: float = 0.99):
        if not 0 <= decay < 1:
            raise ArgumentError(f"decay must be at least 0 and below 1, got {decay!r}")
        self.decay = decay
        self.total = jnp.zeros(())
        self.weight = jnp.zeros(())

    def __call__(self) -> Scalar:
        """The average; 0 before the first update. It gets no gradient."""
        empty = self.weight == 0
        mean = jnp.where(empty, 0.0, self.total / jnp.where(empty, 1.0, self.weight))
        return jax.lax.stop_gradient(mean)

    def update(self, value: Scalar) -> "MovingAverage":
        """The baseline after one more value."""
        value = jax.lax.stop_gradient(value)
        total = self.decay * self.total + (1 - self.decay) * value
        weight = self.decay * self.weight + (1 - self.decay)
        return eqx.tree_at(lambda own: (own.total, own.weight), self, (total, weight))


class LeaveOneOut(Estimator):
    """Score function, each sample with the mean of the others as its baseline.

    Mean over k of (f(b_k) - mean of f over j != k) grad log p(b_k) (Kool et al. 2019; Salimans and Knowles
    2014). For f = log q - log p it is the gradient of half the sample variance of f, VarGrad (Richter et al.
    2020).
    """

    @property
    def properties(self) -> Properties:
        """Unbiased, for values of f only."""
        return Properties(unbiased=True, families=(Family,), least_samples=2)

    def estimate(self, problem: Problem, *, key: PRNGKey, n_samples: int) -> Scalar:
        """The mean over `n_samples` draws, two or more."""
        params = problem.fixed_params()

        def draw(key: PRNGKey) -> tuple[Scalar, Parts]:
            b = problem.joint.sample(params, key=key)
            return problem.value(b), problem.joint.score(params, b)

        values, scores = jax.vmap(draw)(sample_keys(key, n_samples))
        fixed = jax.lax.stop_gradient(values)
        advantages = (fixed - fixed.mean()) * (n_samples / (n_samples - 1))
        return attach(values, problem.params, jax.vmap(scaled)(advantages, scores))

    def n_evaluations(self, problem: Problem, n_samples: int) -> int:
        """One a sample."""
        return n_samples
