"""A distribution made by a bijection from a simple one."""

import math
from typing import Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from backthrough.core import ArgumentError, PRNGKey, Scalar, check_integer
from backthrough.flows.bijection import Bijection, Condition, Point


@runtime_checkable
class Base(Protocol):
    """A distribution of one vector that a bijection moves, such as a Gaussian with parameters of its own."""

    @property
    def size(self) -> int:
        """Entries of the vector."""
        ...

    def sample_and_log_prob(self, *, key: PRNGKey) -> tuple[Point, Scalar]:
        """One reparameterised draw and its log-density."""
        ...

    def log_prob(self, x: Point, /) -> Scalar:
        """The log-density at one point."""
        ...


class StandardNormal(eqx.Module):
    """N(0, I), a base without anything to train.

    Attributes:
        size: Dimensions.
    """

    size: int = eqx.field(static=True)

    def __check_init__(self) -> None:
        check_integer("size", self.size, minimum=1)

    def sample(self, *, key: PRNGKey) -> Point:
        """One draw, shape (size,)."""
        return jax.random.normal(key, (self.size,))

    def sample_and_log_prob(self, *, key: PRNGKey) -> tuple[Point, Scalar]:
        """One draw and its log-density."""
        x = self.sample(key=key)
        return x, self.log_prob(x)

    def log_prob(self, x: Point) -> Scalar:
        """The log-density at one point."""
        return -0.5 * jnp.sum(jnp.square(x)) - 0.5 * self.size * math.log(2 * math.pi)


class Flow(eqx.Module):
    """The distribution of T(u), u from a base, at one point at a time; `jax.vmap` makes batches.

    It is a density and a sampler; at an example's features (`condition`) it is a posterior.

    Attributes:
        base: Where u comes from: `StandardNormal`, or another distribution with a density (`Base`).
        bijection: T, from u to the data.
        condition: Given to the bijection; None for a distribution without one.
    """

    base: Base
    bijection: Bijection
    condition: Condition = None

    def sample_and_log_prob(self, *, key: PRNGKey) -> tuple[Point, Scalar]:
        """One reparameterised draw and its log-density (Rezende and Mohamed 2015, eq. 5)."""
        base_key, noise_key = jax.random.split(key)
        u, log_prob = self.base.sample_and_log_prob(key=base_key)
        x, log_det = self.bijection.transform_and_log_det(u, self.condition, key=noise_key)
        return x, log_prob - log_det

    def log_prob(self, x: Float[Array, "..."], *, key: PRNGKey | None = None) -> Scalar:
        """The log-density at one point; an unbiased estimate of it where the bijection needs `key`.

        Raises:
            ArgumentError: if the point has another size than the base.
        """
        if x.shape != (self.base.size,):
            raise ArgumentError(
                f"log_prob takes one point of shape ({self.base.size},), got {x.shape}; "
                "use jax.vmap for a batch"
            )
        u, log_det = self.bijection.inverse_and_log_det(x, self.condition, key=key)
        return self.base.log_prob(u) + log_det
