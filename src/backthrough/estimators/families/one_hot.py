"""The one-hot categorical distribution that numpyro lacks."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpyro.distributions import Distribution, constraints

from backthrough.core import ArgumentError
from backthrough.estimators.families.parameters import (
    check_categories,
    check_probabilities,
    concrete,
    parameter,
)


class OneHotCategorical(Distribution):
    """One of K categories as a vector with a single 1, so that functions of it can be relaxed.

        >>> import jax.numpy as jnp
        >>> OneHotCategorical(logits=jnp.zeros((4, 3))).event_shape
        (3,)

    Args:
        probs: Probabilities that sum to 1 over the last axis, shape (..., K), as numpyro's categorical
            distributions take them first; or
        logits: unnormalised log-probabilities.

    Raises:
        ArgumentError: if not exactly one of the two is given, they are not floating-point, have no last axis,
            or the probabilities are none.
    """

    arg_constraints = {"logits": constraints.real_vector}  # noqa: RUF012 numpyro's own form
    support = constraints.simplex  # pyright: ignore
    pytree_data_fields = ("logits", "given_probs")

    def __init__(
        self,
        probs: Float[Array | np.ndarray, "... category"] | None = None,
        logits: Float[Array | np.ndarray, "... category"] | None = None,
    ):
        if (logits is None) == (probs is None):
            raise ArgumentError("OneHotCategorical takes exactly one of logits and probs")
        self.given_probs = None
        if probs is not None:
            probs = parameter("probs of OneHotCategorical", probs)
            check_probabilities("probs of OneHotCategorical", probs, sum_to_one=True)
            self.given_probs = probs
            self.logits = jnp.log(probs)
        else:
            self.logits = parameter("logits of OneHotCategorical", logits)
        check_categories("OneHotCategorical", self.logits)
        super().__init__(self.logits.shape[:-1], self.logits.shape[-1:], validate_args=False)

    def sample(self, key: Array | None = None, sample_shape: tuple[int, ...] = ()) -> Float[Array, "..."]:
        """One-hot vectors of shape `sample_shape + batch_shape + (K,)`."""
        if key is None:
            raise ArgumentError("key must be one typed key made by jax.random.key(seed), got None")
        shape = (*sample_shape, *self.logits.shape[:-1])
        codes = jax.random.categorical(key, self.logits, shape=shape)
        return jax.nn.one_hot(codes, self.logits.shape[-1], dtype=self.logits.dtype)

    def log_prob(self, value: Any, intermediates: list[Any] | None = None) -> Float[Array, "..."]:
        """The log-probability of one-hot vectors.

        Raises:
            ArgumentError: if a vector has entries other than 0 and 1, or not one 1.
        """
        seen = concrete(value)
        if seen is not None and not (np.isin(seen, (0, 1)).all() and (seen.sum(-1) == 1).all()):
            raise ArgumentError("a value of OneHotCategorical has one entry 1 and the others 0 in each row")
        log_probs = jax.nn.log_softmax(self.logits)
        return jnp.sum(jnp.where(value > 0, log_probs, 0.0), axis=-1)

    @property
    def probs(self) -> Float[Array, "... category"]:
        """The probabilities."""
        return jax.nn.softmax(self.logits)

    @property
    def mean(self) -> Float[Array, "... category"]:
        """The probabilities."""
        return self.probs
