"""Bernoulli variables, relaxed by logistic noise (Grathwohl et al. 2018, app. B; Tucker et al. 2017)."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array, Float, Int

from backthrough.core import PRNGKey, Scalar, log1mexp, log_odds
from backthrough.estimators.families.family import FiniteFamily, SoftFamily
from backthrough.estimators.families.parameters import check_probabilities, parameter

Logits = Float[Array, "..."]


class BernoulliFamily(SoftFamily, FiniteFamily):
    """b = 1[z > 0] with z = logits + logistic noise. The parameters are the logits."""

    name: ClassVar[str] = "Bernoulli"

    def read(self, distribution: Any) -> Logits:
        """The logits, also when the distribution was made from probabilities."""
        if isinstance(distribution, dist.BernoulliLogits):
            return parameter("logits of Bernoulli", distribution.logits)
        probs = parameter("probs of Bernoulli", distribution.probs)
        check_probabilities("probs of Bernoulli", probs)
        return log_odds(probs)

    def sample(self, params: Logits, *, key: PRNGKey) -> Logits:
        """1 where logits + noise > 0."""
        return self.harden(self.relax(params, self.noise(params, key=key)))

    def noise(self, params: Logits, *, key: PRNGKey) -> Logits:
        """Standard logistic noise, symmetric also in its tails."""
        edge = jnp.finfo(params.dtype).eps / 2
        uniform = jax.random.uniform(key, params.shape, params.dtype, minval=edge)
        return log_odds(uniform)

    def relax(self, params: Logits, noise: Logits) -> Logits:
        """logits + noise."""
        return params + noise

    def harden(self, z: Logits) -> Logits:
        """1 where z > 0."""
        return (z > 0).astype(z.dtype)

    def soften(self, z: Logits, temperature: Scalar) -> Logits:
        """sigmoid(z / temperature)."""
        return jax.nn.sigmoid(z / temperature.astype(z.dtype))

    def soften_tangent(self, value: Logits, change: Logits) -> Logits:
        """p (1 - p) change."""
        return value * (1 - value) * change

    def condition(self, params: Logits, b: Logits, noise: Logits) -> Logits:
        """z given its sign.

        The inverse of the truncated logistic distribution function in a form without cancellation:
        s softplus(s noise + softplus(s l)) with s the sign. It equals the textbook form and is finite, with
        the right sign, for every logit.
        """
        sign = jnp.where(b > 0, 1.0, -1.0).astype(params.dtype)
        return sign * jax.nn.softplus(sign * noise + jax.nn.softplus(sign * params))

    def couple(self, params: Logits, z: Logits) -> Logits:
        """The inverse of `condition` in the noise."""
        size = jnp.maximum(jnp.abs(z), jnp.finfo(z.dtype).tiny)
        inverse = size + log1mexp(size)  # of softplus
        sign = jnp.where(z > 0, 1.0, -1.0).astype(params.dtype)
        return sign * (inverse - jax.nn.softplus(sign * params))

    def log_prob(self, params: Logits, b: Logits) -> Scalar:
        """The sum of b l - softplus(l), in a form that is finite for certain outcomes."""
        return -jnp.sum(jax.nn.softplus(jnp.where(b > 0, -params, params)))

    def given_probs(self, distribution: Any) -> Float[Array, "variable 2"] | None:
        """1 - p and p of a distribution that was made from probabilities."""
        if isinstance(distribution, dist.BernoulliLogits):
            return None
        p = jnp.ravel(distribution.probs)
        return jnp.stack([1 - p, p], axis=1)

    def outcome_probs(self, params: Logits) -> Float[Array, "variable 2"]:
        """1 - p and p."""
        return _both_probs(params.ravel())

    def decode(self, params: Logits, codes: Int[Array, "variable"]) -> Logits:
        """0 or 1."""
        return codes.reshape(params.shape).astype(params.dtype)

    def encode(self, params: Logits, b: Logits) -> Int[Array, "variable"]:
        """0 or 1."""
        return b.ravel().astype(jnp.int32)


@jax.custom_jvp
def _both_probs(logits: Float[Array, "variable"]) -> Float[Array, "variable 2"]:
    """1 - p and p, whose derivative is -p (1 - p) and p (1 - p) without cancellation.

    That of `jax.nn.sigmoid` is s (1 - s), which loses all digits where s is nearly 1.
    """
    return jax.nn.sigmoid(jnp.stack([-logits, logits], axis=1))


@_both_probs.defjvp
def _slope_of_both(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Array, Array]:
    probs = _both_probs(*primals)
    slope = probs[:, 0] * probs[:, 1] * tangents[0]
    return probs, jnp.stack([-slope, slope], axis=1)
