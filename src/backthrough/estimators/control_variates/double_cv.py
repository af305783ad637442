"""Leave-one-out with a first-order control variate of each sample."""

import jax
import jax.numpy as jnp

from backthrough.core import PRNGKey, Scalar
from backthrough.estimators.attach import attach
from backthrough.estimators.estimator import Estimator, Problem, Properties, sample_keys, scaled
from backthrough.estimators.families import BernoulliFamily, Parts


class DoubleCV(Estimator):
    """Leave-one-out on f(b_k) - scale * g_k (b_k - p), g_k the mean gradient of f at the other samples.

    Titsias and Shi 2022. The mean of what is subtracted is known, and added back. For linear f and scale 1
    the variance is zero.

    Attributes:
        scale: Trained.
    """

    scale: Scalar

    def __init__(self, scale: float | Scalar = 1.0):
        self.scale = jnp.asarray(scale, jnp.result_type(float))

    @property
    def properties(self) -> Properties:
        """Unbiased; f must be differentiable at its samples."""
        return Properties(
            unbiased=True,
            families=(BernoulliFamily,),
            needs_gradient=True,
            needs_relaxed=True,
            least_samples=2,
        )

    def estimate(self, problem: Problem, *, key: PRNGKey, n_samples: int) -> Scalar:
        """The mean over `n_samples` draws, two or more."""
        joint, params = problem.joint, problem.fixed_params()
        fixed = problem.with_fixed_f()
        probs = joint.soften(params, jnp.ones(()))

        def draw(key: PRNGKey) -> tuple[Scalar, Parts, Parts]:
            b = joint.sample(params, key=key)
            return (
                problem.value(b),
                [own - p for own, p in zip(b, probs, strict=True)],
                jax.grad(fixed.value)(b),
            )

        values, centred, slopes = jax.vmap(draw)(sample_keys(key, n_samples))
        others = [(own.sum(0) - own) / (n_samples - 1) for own in slopes]
        taylor = sum(
            jnp.sum((g * c).reshape(n_samples, -1), axis=1) for g, c in zip(others, centred, strict=True)
        )
        corrected = jax.lax.stop_gradient(values) - self.scale * taylor
        advantages = (corrected - corrected.mean()) * (n_samples / (n_samples - 1))
        gradients = [  # of samples that depend on each other: their mean is one estimate
            jnp.mean(own + self.scale * other * p * (1 - p), axis=0, keepdims=True)
            for own, other, p in zip(jax.vmap(scaled)(advantages, centred), others, probs, strict=True)
        ]
        return attach(values, problem.params, gradients)

    def n_evaluations(self, problem: Problem, n_samples: int) -> int:
        """One a sample, and as many gradients of f."""
        return n_samples
