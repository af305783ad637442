"""The response of one hidden layer."""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from backthrough.core import PRNGKey, check_integer
from backthrough.hyper.space import BoundSpace


@dataclass(frozen=True)
class MLP:
    """w = b + A relu(B u + d), the paper's hypernetwork for one hyperparameter (50 hidden units).

    With enough units it can follow any continuous best response (theorem of Lorraine and Duvenaud, section
    2).

    Args:
        width: Hidden units.
    """

    width: int = 50

    def __post_init__(self) -> None:
        check_integer("width", self.width, minimum=1)

    def init(self, space: BoundSpace, weights: Float[Array, " weight"], *, key: PRNGKey) -> "MLPFunction":
        """A = 0 and b the weights; B and d are drawn so that the units bend inside the bounds.

        Where there are none, within 1.5 units of u around the start.
        """
        first, second = jax.random.split(key)
        inwards = jax.random.normal(first, (self.width, space.size), weights.dtype) / jnp.sqrt(space.size)
        low, high = space.box
        bounded = np.isfinite(low) & np.isfinite(high)
        start = np.asarray(space.initial)
        low, high = np.where(bounded, low, start - 1.5), np.where(bounded, high, start + 1.5)
        kinks = jax.random.uniform(second, inwards.shape, weights.dtype, low, high)
        shift = -jnp.sum(inwards * kinks, axis=1)
        outwards = jnp.zeros((weights.size, self.width), weights.dtype)
        return MLPFunction(weights, outwards, inwards, shift)


class MLPFunction(eqx.Module):
    """A response through a hidden layer."""

    bias: Float[Array, " weight"]
    outwards: Float[Array, "weight width"]
    inwards: Float[Array, "width hyper"]
    shift: Float[Array, " width"]

    def __call__(self, u: Float[Array, " hyper"], centre: Float[Array, " hyper"]) -> Float[Array, " weight"]:
        """The weights at u; the centre is not used."""
        return self.bias + self.outwards @ jax.nn.relu(self.inwards @ u + self.shift)
