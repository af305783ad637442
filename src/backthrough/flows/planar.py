"""The planar flow (Rezende and Mohamed 2015), with its inverse."""

from typing import Any

import jax
import jax.numpy as jnp

from backthrough.core import PRNGKey, Scalar, check_integer
from backthrough.flows.bijection import Bijection, Chain, Condition, Point

HALVINGS = 50


class Planar(Bijection):
    """T(x) = x + u tanh(w . x + b), with u moved so that w . u > -1, where T is invertible.

    Rezende and Mohamed 2015, eqs. 10-12 and appendix A.1. The inverse solves one increasing equation in one
    unknown by bisection; its derivative is that of the solution.

    Attributes:
        weight: w, shape (size,).
        shift: u before it is moved, shape (size,).
        bias: b.
    """

    weight: Point
    shift: Point
    bias: Scalar

    def __init__(self, size: int, *, key: PRNGKey):
        check_integer("size", size, minimum=1)
        keys = jax.random.split(key)
        self.weight = jax.random.normal(keys[0], (size,)) / jnp.sqrt(size)
        self.shift = 0.1 * jax.random.normal(keys[1], (size,))
        self.bias = jnp.zeros(())

    def transform_and_log_det(
        self, x: Point, condition: Condition = None, *, key: PRNGKey | None = None
    ) -> tuple[Point, Scalar]:
        """y = T(x) and log |det dy/dx|."""
        shift, along = self._shift()
        height = jnp.tanh(self.weight @ x + self.bias)
        return x + shift * height, jnp.log1p(along * (1 - jnp.square(height)))

    def inverse_and_log_det(
        self, y: Point, condition: Condition = None, *, key: PRNGKey | None = None
    ) -> tuple[Point, Scalar]:
        """x = T^-1(y) and log |det dx/dy|."""
        shift, along = self._shift()
        level = _solve(along, self.weight @ y + self.bias)
        height = jnp.tanh(level)
        return y - shift * height, -jnp.log1p(along * (1 - jnp.square(height)))

    def _shift(self) -> tuple[Point, Scalar]:
        """u with w . u > -1, and w . u."""
        along = self.weight @ self.shift
        allowed = jax.nn.softplus(along) - 1
        return self.shift + (allowed - along) * self.weight / (self.weight @ self.weight), allowed


def planar_chain(size: int, depth: int, *, key: PRNGKey) -> Chain:
    """`depth` planar flows one after another.

    Raises:
        ArgumentError: if `size` or `depth` is below 1.
    """
    check_integer("depth", depth, minimum=1)
    return Chain([Planar(size, key=own) for own in jax.random.split(key, depth)])


def _solve(along: Scalar, target: Scalar) -> Scalar:
    """The s with s + along tanh(s) = target; it lies within |along| of the target."""
    fixed_along, fixed_target = jax.lax.stop_gradient((along, target))

    def halve(_: Any, edges: tuple[Scalar, Scalar]) -> tuple[Scalar, Scalar]:
        low, high = edges
        middle = 0.5 * (low + high)
        is_low = middle + fixed_along * jnp.tanh(middle) < fixed_target
        return jnp.where(is_low, middle, low), jnp.where(is_low, high, middle)

    reach = jnp.abs(fixed_along)
    low, high = jax.lax.fori_loop(0, HALVINGS, halve, (fixed_target - reach, fixed_target + reach))
    s = 0.5 * (low + high)
    # One Newton step: rounds off the value, and has the derivative of the solution.
    slope = 1 + fixed_along * (1 - jnp.square(jnp.tanh(s)))
    return s - (s + along * jnp.tanh(s) - target) / slope
