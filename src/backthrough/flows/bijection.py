"""What a bijection offers, and bijections made of bijections."""

import abc
from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from backthrough.core import ArgumentError, PRNGKey, Scalar

Point = Float[Array, "size"]
Condition = Float[Array, "..."] | None


def check_point(x: Array, size: int) -> None:
    """Refuses what is not one point of `size` entries.

    Raises:
        ArgumentError: if it has another shape.
    """
    if x.shape != (size,):
        raise ArgumentError(
            f"this bijection is one of points of shape ({size},), got {x.shape}; use jax.vmap for a batch"
        )


def check_condition(condition: Condition, shape: tuple[int, ...]) -> None:
    """Refuses a condition of another shape than a bijection was made for; (0,) is for none.

    Raises:
        ArgumentError: if it has another shape, is missing, or is not asked for.
    """
    if condition is None and shape == (0,):
        return
    if condition is None:
        raise ArgumentError(f"this bijection needs a condition of shape {shape}, got none")
    if shape == (0,):
        raise ArgumentError(
            f"this bijection was made without a condition, got one of shape {condition.shape}; "
            "make it with condition_size="
        )
    if condition.shape != shape:
        raise ArgumentError(f"this bijection takes a condition of shape {shape}, got {condition.shape}")


class Bijection(eqx.Module):
    """An invertible map of one point, with the logarithm of the absolute determinant of its Jacobian.

    A condition, where a bijection takes one, changes the map. Those that are estimated with noise need `key`;
    the others ignore it.
    """

    @abc.abstractmethod
    def transform_and_log_det(
        self, x: Point, condition: Condition = None, *, key: PRNGKey | None = None
    ) -> tuple[Point, Scalar]:
        """y = T(x) and log |det dy/dx|."""

    @abc.abstractmethod
    def inverse_and_log_det(
        self, y: Point, condition: Condition = None, *, key: PRNGKey | None = None
    ) -> tuple[Point, Scalar]:
        """x = T^-1(y) and log |det dx/dy|."""


class Chain(Bijection):
    """Several bijections, the first one applied first.

    Attributes:
        bijections: At least one.
    """

    bijections: tuple[Bijection, ...]

    def __init__(self, bijections: Sequence[Bijection]):
        if not bijections:
            raise ArgumentError("Chain needs at least one bijection")
        self.bijections = tuple(bijections)

    def transform_and_log_det(
        self, x: Point, condition: Condition = None, *, key: PRNGKey | None = None
    ) -> tuple[Point, Scalar]:
        """y = T(x) and log |det dy/dx|."""
        total = jnp.zeros((), x.dtype)
        for bijection in self.bijections:
            x, log_det = bijection.transform_and_log_det(x, condition, key=key)
            total += log_det
        return x, total

    def inverse_and_log_det(
        self, y: Point, condition: Condition = None, *, key: PRNGKey | None = None
    ) -> tuple[Point, Scalar]:
        """x = T^-1(y) and log |det dx/dy|."""
        total = jnp.zeros((), y.dtype)
        for bijection in reversed(self.bijections):
            y, log_det = bijection.inverse_and_log_det(y, condition, key=key)
            total += log_det
        return y, total


class Inverse(Bijection):
    """A bijection turned round: a planar flow turned round has a cheap density.

    Attributes:
        bijection: The one whose inverse this is.
    """

    bijection: Bijection

    def transform_and_log_det(
        self, x: Point, condition: Condition = None, *, key: PRNGKey | None = None
    ) -> tuple[Point, Scalar]:
        """y = T(x) and log |det dy/dx|."""
        return self.bijection.inverse_and_log_det(x, condition, key=key)

    def inverse_and_log_det(
        self, y: Point, condition: Condition = None, *, key: PRNGKey | None = None
    ) -> tuple[Point, Scalar]:
        """x = T^-1(y) and log |det dx/dy|."""
        return self.bijection.transform_and_log_det(y, condition, key=key)
