"""Linear responses: w = b + W u, and its centred and factorised forms."""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, Float

from backthrough.core import PRNGKey, check_integer
from backthrough.hyper.space import BoundSpace


@dataclass(frozen=True)
class Linear:
    """w = b + W u, with D (h + 1) parameters: the paper's linear hypernetwork.

    Uncentred, it is badly conditioned where u is far from 0: `CentredLinear` learns the same faster.
    """

    def init(self, space: BoundSpace, weights: Float[Array, " weight"], *, key: PRNGKey) -> "LinearFunction":
        """W = 0 and b the weights."""
        return LinearFunction(weights, jnp.zeros((weights.size, space.size), weights.dtype), False)


@dataclass(frozen=True)
class CentredLinear:
    """w = b + W (u - c), c where hyperparameters stand now (MacKay et al. 2019, Bae and Grosse 2020).

    b is then the weights at c, and W how the best response moves with u: D (h + 1) parameters.
    """

    def init(self, space: BoundSpace, weights: Float[Array, " weight"], *, key: PRNGKey) -> "LinearFunction":
        """W = 0 and b the weights."""
        return LinearFunction(weights, jnp.zeros((weights.size, space.size), weights.dtype), True)


class LinearFunction(eqx.Module):
    """A linear response."""

    bias: Float[Array, " weight"]
    matrix: Float[Array, "weight hyper"]
    is_centred: bool = eqx.field(static=True)

    def __call__(self, u: Float[Array, " hyper"], centre: Float[Array, " hyper"]) -> Float[Array, " weight"]:
        """The weights at u."""
        return self.bias + self.matrix @ (u - stop_gradient(centre) if self.is_centred else u)


@dataclass(frozen=True)
class Factorised:
    """w = b + A (B u + d) through `rank` linear units: the paper's, for thousands of hyperparameters.

    With D = h = 7,850 and rank 10 it has 164,860 parameters. It cannot learn that each weight follows its own
    hyperparameter (that takes rank h): take `Elementwise` there.

    Args:
        rank: Units in the bottleneck.
    """

    rank: int = 10

    def __post_init__(self) -> None:
        check_integer("rank", self.rank, minimum=1)

    def init(
        self, space: BoundSpace, weights: Float[Array, " weight"], *, key: PRNGKey
    ) -> "FactorisedFunction":
        """A = 0 and b the weights; B is drawn."""
        inwards = jax.random.normal(key, (self.rank, space.size), weights.dtype) / jnp.sqrt(space.size)
        outwards = jnp.zeros((weights.size, self.rank), weights.dtype)
        return FactorisedFunction(weights, outwards, inwards, jnp.zeros(self.rank, weights.dtype))


class FactorisedFunction(eqx.Module):
    """A linear response through a bottleneck."""

    bias: Float[Array, " weight"]
    outwards: Float[Array, "weight rank"]
    inwards: Float[Array, "rank hyper"]
    shift: Float[Array, " rank"]

    def __call__(self, u: Float[Array, " hyper"], centre: Float[Array, " hyper"]) -> Float[Array, " weight"]:
        """The weights at u; the centre is not used."""
        return self.bias + self.outwards @ (self.inwards @ u + self.shift)
