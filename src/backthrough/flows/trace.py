"""The divergence of a vector field: exact, or estimated with noise that is held fixed over a solve."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp

from backthrough.core import ArgumentError, PRNGKey, Scalar, check_choice, check_integer, check_key
from backthrough.flows.bijection import Point

Velocity = Callable[[Point], Point]


class Trace(eqx.Module):
    """How the divergence tr(df/dx) of a field f at one time is found."""

    @abc.abstractmethod
    def draw(self, x: Point, *, key: PRNGKey | None) -> Point | None:
        """The noise of one solve.

        Raises:
            ArgumentError: if it cannot work for such a point, or needs a key and has none.
        """

    @abc.abstractmethod
    def __call__(self, velocity: Velocity, x: Point, noise: Point | None) -> tuple[Point, Scalar]:
        """f(x) and its divergence, or an unbiased estimate of that."""


class ExactTrace(Trace):
    """The sum of the diagonal of df/dx: one Jacobian-vector product for each dimension.

    Attributes:
        most: Dimensions beyond which it is refused.
    """

    most: int = eqx.field(static=True, default=64)

    def __check_init__(self) -> None:
        check_integer("most", self.most, minimum=1)

    def draw(self, x: Point, *, key: PRNGKey | None) -> None:
        """No noise."""
        if x.size > self.most:
            raise ArgumentError(
                f"the exact trace in {x.size} dimensions takes {x.size} products for every evaluation; use "
                f"trace=Hutchinson(), or raise ExactTrace(most={self.most})"
            )

    def __call__(self, velocity: Velocity, x: Point, noise: Point | None) -> tuple[Point, Scalar]:
        """f(x) and its divergence."""
        value, push = jax.linearize(velocity, x)
        return value, jnp.trace(jax.vmap(push)(jnp.eye(x.size, dtype=x.dtype)))


class Hutchinson(Trace):
    """e . (df/dx) e for one e with E[e e^T] = I (Grathwohl et al. 2019, eq. 8): one product.

    Attributes:
        noise: What e is drawn from: `rademacher` (signs) or `normal`.
    """

    noise: str = eqx.field(static=True, default="rademacher")

    def __check_init__(self) -> None:
        check_choice("noise", self.noise, ("rademacher", "normal"))

    def draw(self, x: Point, *, key: PRNGKey | None) -> Point:
        """e, for the whole of one solve."""
        if key is None:
            raise ArgumentError("Hutchinson() estimates the trace with noise and needs key=")
        check_key(key)
        draw = jax.random.rademacher if self.noise == "rademacher" else jax.random.normal
        return draw(key, x.shape, x.dtype)

    def __call__(self, velocity: Velocity, x: Point, noise: Point | None) -> tuple[Point, Scalar]:
        """f(x) and the estimate of its divergence."""
        assert noise is not None  # what `draw` has returned
        value, pushed = jax.jvp(velocity, (x,), (noise,))
        return value, jnp.vdot(noise, pushed)
