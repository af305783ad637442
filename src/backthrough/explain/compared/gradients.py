"""Saliency from derivatives of the score: the gradient, integrated gradients, SmoothGrad."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from backthrough.core import ArgumentError, PRNGKey, check_integer, check_positive
from backthrough.explain.compared.method import ScoreOfOne, over_units, strongest, summed
from backthrough.explain.units import Partition


@dataclass(frozen=True)
class Gradient:
    """The absolute derivative of the score by each feature, the largest of a place's channels.

    Simonyan, Vedaldi and Zisserman 2014, sec. 3.1.

    Example:
        >>> from backthrough.explain.compared import saliency
        >>> from backthrough.explain.units import Columns
        >>> def model(x):
        ...     return jnp.stack([0 * x[0], 2 * x[0] - 3 * x[1]])
        >>> x = np.array([[1.0, 5.0]])
        >>> saliency(model, x, target=1, method=Gradient(), units=Columns()).tolist()
        [[2.0, 3.0]]
    """

    needs_gradient: ClassVar[bool] = True
    is_random: ClassVar[bool] = False

    def relevance(
        self, score: ScoreOfOne, x: Float[Array, "..."], partition: Partition, *, key: PRNGKey | None
    ) -> Float[Array, "..."]:
        """See `Method`."""
        return over_units(strongest(jax.grad(score)(x), partition), partition)


@dataclass(frozen=True, eq=False)
class IntegratedGradients:
    """(x - baseline) times the mean gradient between them, summed over a place's channels, with its sign.

    Sundararajan, Taly and Yan 2017, eq. 1. The values of all places sum to the score of x less that of the
    baseline, but for the error of the Gauss-Legendre rule.

    Attributes:
        baseline: A number, or an array that broadcasts to an example.
        n_steps: Points on the line.

    Example:
        >>> method = IntegratedGradients(baseline=1.0, n_steps=3)
        >>> method.attributions(lambda x: jnp.sum(x**2), jnp.array([3.0, 1.0])).round(3).tolist()
        [8.0, 0.0]
    """

    baseline: Any = 0.0
    n_steps: int = 50
    needs_gradient: ClassVar[bool] = True
    is_random: ClassVar[bool] = False

    def relevance(
        self, score: ScoreOfOne, x: Float[Array, "..."], partition: Partition, *, key: PRNGKey | None
    ) -> Float[Array, "..."]:
        """See `Method`."""
        values = self.attributions(score, x)
        return over_units(summed(values, partition), partition)

    def attributions(self, score: ScoreOfOne, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """The value of each feature, channels apart."""
        check_integer("n_steps", self.n_steps, minimum=1)
        baseline = as_baseline(self.baseline, x)
        points, weights = np.polynomial.legendre.leggauss(self.n_steps)
        points, weights = (points + 1) / 2, weights / 2

        def add(total: Array, point_and_weight: tuple[Array, Array]) -> tuple[Array, None]:
            point, weight = point_and_weight
            return total + weight * jax.grad(score)(baseline + point * (x - baseline)), None

        rule = (jnp.asarray(points, x.dtype), jnp.asarray(weights, x.dtype))
        return (x - baseline) * jax.lax.scan(add, jnp.zeros_like(x), rule)[0]


@dataclass(frozen=True)
class SmoothGrad:
    """The absolute mean of gradients at noisy copies of x, the largest of a place's channels.

    Smilkov et al. 2017, eq. 1.

    Attributes:
        noise: Standard deviation of the noise, as a part of the range of x.
        n_samples: Copies.

    Example:
        >>> from backthrough.explain.compared import saliency
        >>> from backthrough.explain.units import Columns
        >>> def model(x):
        ...     return jnp.stack([0 * x[0], 2 * x[0] - 3 * x[1]])
        >>> options = {"target": 1, "units": Columns(), "key": jax.random.key(0)}
        >>> saliency(model, np.array([[1.0, 5.0]]), method=SmoothGrad(), **options).tolist()
        [[2.0, 3.0]]
    """

    noise: float = 0.15
    n_samples: int = 50
    needs_gradient: ClassVar[bool] = True
    is_random: ClassVar[bool] = True

    def relevance(
        self, score: ScoreOfOne, x: Float[Array, "..."], partition: Partition, *, key: PRNGKey | None
    ) -> Float[Array, "..."]:
        """See `Method`."""
        check_integer("n_samples", self.n_samples, minimum=1)
        check_positive("noise", self.noise)
        assert key is not None
        spread = self.noise * (x.max() - x.min())

        def add(total: Array, own: PRNGKey) -> tuple[Array, None]:
            return total + jax.grad(score)(x + spread * jax.random.normal(own, x.shape, x.dtype)), None

        total, _ = jax.lax.scan(add, jnp.zeros_like(x), jax.random.split(key, self.n_samples))
        return over_units(strongest(total / self.n_samples, partition), partition)


def as_baseline(baseline: Any, x: Float[Array, "..."]) -> Float[Array, "..."]:
    """What stands for nothing, in the shape of an example.

    Raises:
        ArgumentError: if it does not broadcast to it.
    """
    array = jnp.asarray(baseline, x.dtype)
    try:
        return jnp.broadcast_to(array, x.shape)
    except ValueError:
        raise ArgumentError(
            f"baseline has shape {array.shape}, which does not fit examples of shape {x.shape}"
        ) from None
