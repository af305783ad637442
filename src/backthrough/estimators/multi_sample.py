"""Bounds of several samples: log of the mean of weights."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from backthrough.core import PRNGKey, PyTree, Scalar, check_key, log_mean_exp
from backthrough.estimators.attach import attach
from backthrough.estimators.estimator import scaled
from backthrough.estimators.expectation import make_problem
from backthrough.estimators.score import LeaveOneOut


def vimco(log_weight: Callable[[Any], Any], dist: PyTree, *, key: PRNGKey, n_samples: int) -> Scalar:
    """log of the mean of exp(log_weight(b_k)) over draws b_k, with the VIMCO gradient.

    Mnih and Rezende 2016, eq. 8 and 12: sample k is credited with the bound less the bound in which its
    weight is the geometric mean of the others. The gradient of E[log mean exp] is unbiased, with respect to
    the parameters of `dist` and what `log_weight` closes over (the logits of log q, the model).

        >>> import numpyro.distributions as dist
        >>> bound = vimco(
        ...     lambda b: -jnp.sum(b), dist.Bernoulli(logits=jnp.zeros(3)), key=jax.random.key(0), n_samples=5
        ... )
        >>> bound.shape
        ()

    Args:
        log_weight: Maps one sample to one number, log p(x, b) - log q(b | x).
        dist: As for `expect`.
        key: Typed key.
        n_samples: Draws of the bound, at least 2.

    Returns:
        The bound, in nats.

    Raises:
        ArgumentError: if `n_samples` is below 2, or as `expect`.
    """
    check_key(key)
    n_samples = LeaveOneOut().properties.check_n_samples("vimco", n_samples)
    problem = make_problem(log_weight, dist, LeaveOneOut())
    joint, params = problem.joint, problem.fixed_params()

    def draw(key: PRNGKey) -> tuple[Scalar, PyTree]:
        b = joint.sample(params, key=key)
        return problem.value(b), joint.score(params, b)

    values, scores = jax.vmap(draw)(jax.random.split(key, n_samples))
    bound = log_mean_exp(values)
    fixed = jax.lax.stop_gradient(values)
    itself = jnp.eye(n_samples, dtype=bool)
    others = jnp.sum(jnp.where(itself, 0.0, fixed), axis=1, keepdims=True) / (n_samples - 1)
    without = log_mean_exp(jnp.where(itself, others, fixed), axis=1)
    credits = jax.lax.stop_gradient(bound) - without
    gradients = jax.tree_util.tree_map(
        lambda leaf: leaf.sum(0, keepdims=True), jax.vmap(scaled)(credits, scores)
    )
    return problem.finished(attach(bound[None], problem.params, gradients))
