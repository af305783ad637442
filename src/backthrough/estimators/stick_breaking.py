"""DisARM for categorical variables, as sequences of binary choices."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from backthrough.core import ArgumentError, PRNGKey, Scalar
from backthrough.estimators.attach import attach
from backthrough.estimators.estimator import Estimator, Problem, Properties
from backthrough.estimators.families import BernoulliFamily, CategoricalFamily, OneHotFamily, Parts

Logits = Float[Array, "... category"]
Sticks = Float[Array, "... stick"]


class CategoricalDisARM(Estimator):
    """DisARM on the binary choices "this category, or a later one" (Dong et al. 2021, DisARM-SB).

    Choices that neither sample of the pair has reached do not matter to f, and contribute nothing. The
    categories' order matters to the variance: the first choices are the most strongly coupled.
    """

    @property
    def properties(self) -> Properties:
        """Unbiased, for values of f only."""
        return Properties(
            unbiased=True, families=(CategoricalFamily, OneHotFamily), least_samples=2, in_pairs=True
        )

    def estimate(self, problem: Problem, *, key: PRNGKey, n_samples: int) -> Scalar:
        """The mean over `n_samples` / 2 pairs."""
        joint, params = problem.joint, problem.fixed_params()
        if any(own.shape[-1] == 1 for own in params):
            raise ArgumentError("CategoricalDisARM needs two categories or more: with one there is no choice")
        broken = [jax.vjp(sticks, own) for own in params]

        def draw(key: PRNGKey) -> tuple[Scalar, Parts]:
            keys = jax.random.split(key, len(params))
            pairs, weights = [], []
            for family, own, (logits, _), k in zip(joint.families, params, broken, keys, strict=True):
                noise = BernoulliFamily().noise(logits, key=k)
                choices = [(logits + sign * noise > 0).astype(logits.dtype) for sign in (1, -1)]
                reached = jnp.maximum(*[_reached(own) for own in choices])
                weights.append((choices[0] - choices[1]) * jax.nn.sigmoid(jnp.abs(logits)) * reached)
                codes = jnp.stack([_first(own) for own in choices])
                pairs.append(jax.vmap(lambda c, f=family, p=own: f.decode(p, c.reshape(-1)))(codes))
            values = jax.vmap(problem.value)(pairs)
            first, second = jax.lax.stop_gradient(values)
            to_sticks = [(0.5 * (first - second) * weight).astype(weight.dtype) for weight in weights]
            gradients = [pull(own)[0] for (_, pull), own in zip(broken, to_sticks, strict=True)]
            return values.mean(), gradients

        values, gradients = jax.vmap(draw)(jax.random.split(key, n_samples // 2))
        return attach(values, problem.params, gradients)

    def n_evaluations(self, problem: Problem, n_samples: int) -> int:
        """One a sample."""
        return n_samples


def sticks(logits: Logits) -> Sticks:
    """log p_k - log of the sum of the later p, for all categories but the last."""
    later = jax.lax.cumlogsumexp(logits, axis=logits.ndim - 1, reverse=True)
    return logits[..., :-1] - later[..., 1:]


def _reached(choices: Sticks) -> Sticks:
    """1 at the choices that are made: up to the first one."""
    return jnp.cumprod(jnp.concatenate([jnp.ones_like(choices[..., :1]), 1 - choices[..., :-1]], -1), axis=-1)


def _first(choices: Sticks) -> Int[Array, "..."]:
    """The first choice that is one; the last category if none is."""
    last = jnp.ones_like(choices[..., :1])
    return jnp.argmax(jnp.concatenate([choices, last], axis=-1), axis=-1)
