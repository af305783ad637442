"""Leave-one-out with control variates made by a discrete Stein operator."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from backthrough.core import ArgumentError, PRNGKey, Scalar
from backthrough.estimators.attach import attach
from backthrough.estimators.control_variates.control import check_trainable
from backthrough.estimators.estimator import Estimator, Problem, Properties, hold_closure, sample_keys
from backthrough.estimators.families import BernoulliFamily, Parts

Bits = Float[Array, "variable"]


class RODEO(Estimator):
    """Leave-one-out whose f and whose result are corrected by functions of mean zero (Shi et al. 2022).

    The Stein operator of a Gibbs step, (A h)(b) = mean over i of p(flip of b_i) (h(b, b_i flipped) - h(b)),
    has mean zero for every h. Here h(b) is a learned function of the first-order Taylor polynomial of f about
    the other samples, so that no further evaluation of f is needed.

    Attributes:
        control: An Equinox module that maps the vector (Taylor term, mean of f at the others) to two numbers:
            h for f, and h for the result.
    """

    control: Callable[[Any], Any]

    def __check_init__(self) -> None:
        check_trainable(self.control)

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
        logits, unravel = ravel_pytree(params)
        probs = jax.nn.sigmoid(logits)

        def draw(key: PRNGKey) -> tuple[Scalar, Bits, Bits]:
            b: Parts = joint.sample(params, key=key)
            return problem.value(b), ravel_pytree(b)[0], ravel_pytree(jax.grad(fixed.value)(b))[0]

        values, b, slopes = jax.vmap(draw)(sample_keys(key, n_samples))
        f = jax.lax.stop_gradient(values)

        def of_others(own: Array) -> Array:
            """The mean over the other samples."""
            return (own.sum(0) - own) / (n_samples - 1)

        slope, mean_f = of_others(slopes), of_others(f)
        taylor = jnp.sum(slope * b, axis=1) - of_others(jnp.sum(slopes * b, axis=1))
        flip = 1 - 2 * b
        control = hold_closure("control of RODEO", self.control, jax.ShapeDtypeStruct((2,), f.dtype))

        def pair(taylor: Scalar, mean_f: Scalar) -> Float[Array, "2"]:
            return two_numbers(control(jnp.stack([taylor, mean_f])))

        here = jax.vmap(pair)(taylor, mean_f)
        there = jax.vmap(jax.vmap(pair, (0, None)))(taylor[:, None] + slope * flip, mean_f)
        weight = jnp.where(b > 0, 1 - probs, probs)  # of the flipped value
        change = jnp.mean(weight[..., None] * (there - here[:, None]), axis=1)
        centred = b - probs
        advantage = f - of_others(f + change[:, 0])
        gradients = (advantage + change[:, 1])[:, None] * centred
        gradients += weight * there[..., 1] * flip / len(logits)
        mean = gradients.mean(0, keepdims=True).astype(logits.dtype)  # one row: samples depend on each other
        return attach(values, problem.params, jax.vmap(unravel)(mean))

    def n_evaluations(self, problem: Problem, n_samples: int) -> int:
        """One a sample, and as many gradients of f."""
        return n_samples


def two_numbers(pair: Any) -> Float[Array, "2"]:
    """What a control variate of RODEO returns."""
    pair = jnp.asarray(pair)
    if pair.shape != (2,):
        raise ArgumentError(f"control of RODEO must return two numbers, got shape {pair.shape}")
    return pair
