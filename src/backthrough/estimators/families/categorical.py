"""Categorical variables as one-hot vectors or as indices, relaxed by Gumbel noise."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array, Float, Int

from backthrough.core import PRNGKey, Scalar, log1mexp
from backthrough.estimators.families.family import FiniteFamily, RelaxedFamily, SoftFamily
from backthrough.estimators.families.parameters import check_categories, check_probabilities, parameter

Logits = Float[Array, "... category"]


class OneHotFamily(SoftFamily, FiniteFamily):
    """b = one-hot(argmax z) with z = log_softmax(logits) + Gumbel noise. The parameters are the logits."""

    name: ClassVar[str] = "OneHotCategorical"

    def read(self, distribution: Any) -> Logits:
        """The logits."""
        return distribution.logits

    def sample(self, params: Logits, *, key: PRNGKey) -> Logits:
        """One at the largest of log p + noise."""
        return self.harden(self.relax(params, self.noise(params, key=key)))

    def noise(self, params: Logits, *, key: PRNGKey) -> Logits:
        """Standard Gumbel noise."""
        return jax.random.gumbel(key, params.shape, params.dtype)

    def relax(self, params: Logits, noise: Logits) -> Logits:
        """log p + noise."""
        return jax.nn.log_softmax(params) + noise

    def harden(self, z: Logits) -> Logits:
        """One at the largest entry."""
        return jax.nn.one_hot(jnp.argmax(z, axis=-1), z.shape[-1], dtype=z.dtype)

    def soften(self, z: Logits, temperature: Scalar) -> Logits:
        """softmax(z / temperature)."""
        return jax.nn.softmax(z / temperature.astype(z.dtype))

    def soften_tangent(self, value: Logits, change: Logits) -> Logits:
        """p (change - the sum of p change)."""
        return value * (change - jnp.sum(value * change, axis=-1, keepdims=True))

    def condition(self, params: Logits, b: Logits, noise: Logits) -> Logits:
        """z given which entry is the largest.

        The largest entry is a Gumbel variable Z whatever the probabilities; the others are Gumbel variables
        cut off at Z: -logaddexp(-(log p_i + noise_i), -Z). This equals Grathwohl et al. 2018, app. B, and is
        finite for logits of any size.
        """
        largest = jnp.sum(b * noise, axis=-1, keepdims=True)
        others = -jnp.logaddexp(-self.relax(params, noise), -largest)
        return jnp.where(b > 0, largest, others)

    def couple(self, params: Logits, z: Logits) -> Logits:
        """The inverse of `condition` in the noise; 0 where a category cannot be: it has no effect there."""
        largest = jnp.max(z, axis=-1, keepdims=True)
        impossible = jnp.isneginf(z)
        gap = jnp.maximum(largest - jnp.where(impossible, largest - 1, z), jnp.finfo(z.dtype).tiny)
        others = z - jax.nn.log_softmax(params) - log1mexp(gap)
        return jnp.where(self.harden(z) > 0, largest, jnp.where(impossible, 0.0, others))

    def log_prob(self, params: Logits, b: Logits) -> Scalar:
        """The sum of log p at the ones."""
        return jnp.sum(jnp.where(b > 0, jax.nn.log_softmax(params), 0.0))

    def given_probs(self, distribution: Any) -> Float[Array, "variable category"] | None:
        """Those of a distribution that was made from probabilities, with a sum of 1."""
        given = distribution.given_probs
        return None if given is None else _normalised(given)

    def outcome_probs(self, params: Logits) -> Float[Array, "variable category"]:
        """softmax(logits)."""
        return jax.nn.softmax(params.reshape(-1, params.shape[-1]))

    def decode(self, params: Logits, codes: Int[Array, "variable"]) -> Logits:
        """One-hot vectors."""
        return jax.nn.one_hot(codes.reshape(params.shape[:-1]), params.shape[-1], dtype=params.dtype)

    def encode(self, params: Logits, b: Logits) -> Int[Array, "variable"]:
        """Where the ones are."""
        return jnp.argmax(b, axis=-1).ravel()


class CategoricalFamily(RelaxedFamily, FiniteFamily):
    """As `OneHotFamily`, but b is the index of the category, which has no stand-ins."""

    name: ClassVar[str] = "Categorical"

    def read(self, distribution: Any) -> Logits:
        """The logits, also when the distribution was made from probabilities."""
        if isinstance(distribution, dist.CategoricalLogits):
            logits = parameter("logits of Categorical", distribution.logits)
        else:
            probs = parameter("probs of Categorical", distribution.probs)
            check_probabilities("probs of Categorical", probs, sum_to_one=True)
            logits = jnp.log(probs)
        check_categories("Categorical", logits)
        return logits

    def sample(self, params: Logits, *, key: PRNGKey) -> Int[Array, "..."]:
        """The index of the largest of log p + noise."""
        return self.harden(self.relax(params, self.noise(params, key=key)))

    def noise(self, params: Logits, *, key: PRNGKey) -> Logits:
        """Standard Gumbel noise."""
        return OneHotFamily().noise(params, key=key)

    def relax(self, params: Logits, noise: Logits) -> Logits:
        """log p + noise."""
        return OneHotFamily().relax(params, noise)

    def harden(self, z: Logits) -> Int[Array, "..."]:
        """The index of the largest entry."""
        return jnp.argmax(z, axis=-1)

    def condition(self, params: Logits, b: Int[Array, "..."], noise: Logits) -> Logits:
        """z given the index of its largest entry."""
        return OneHotFamily().condition(params, self._ones(params, b), noise)

    def couple(self, params: Logits, z: Logits) -> Logits:
        """The inverse of `condition` in the noise."""
        return OneHotFamily().couple(params, z)

    def log_prob(self, params: Logits, b: Int[Array, "..."]) -> Scalar:
        """The sum of log p at the indices."""
        return OneHotFamily().log_prob(params, self._ones(params, b))

    def given_probs(self, distribution: Any) -> Float[Array, "variable category"] | None:
        """Those of a distribution that was made from probabilities, with a sum of 1."""
        if isinstance(distribution, dist.CategoricalLogits):
            return None
        return _normalised(distribution.probs)

    def outcome_probs(self, params: Logits) -> Float[Array, "variable category"]:
        """softmax(logits)."""
        return OneHotFamily().outcome_probs(params)

    def decode(self, params: Logits, codes: Int[Array, "variable"]) -> Int[Array, "..."]:
        """The numbers themselves."""
        return codes.reshape(params.shape[:-1])

    def encode(self, params: Logits, b: Int[Array, "..."]) -> Int[Array, "variable"]:
        """The numbers themselves."""
        return b.ravel()

    def _ones(self, params: Logits, b: Int[Array, "..."]) -> Logits:
        return jax.nn.one_hot(b, params.shape[-1], dtype=params.dtype)


def _normalised(probs: Float[Array, "... category"]) -> Float[Array, "variable category"]:
    rows = jnp.reshape(probs, (-1, jnp.shape(probs)[-1]))
    return rows / rows.sum(axis=-1, keepdims=True)
