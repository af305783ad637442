"""The response in which each weight follows its own hyperparameters."""

from dataclasses import dataclass

import equinox as eqx
import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, Float, Int

from backthrough.core import PRNGKey
from backthrough.hyper.space import BoundSpace


@dataclass(frozen=True)
class Elementwise:
    """w_j = b_j + sum over k of s_jk (u_(k of j) - c_(k of j)): each weight follows what acts on it.

    At the cost of one more vector of weights for each named hyperparameter it learns what `Factorised`
    cannot: thousands of hyperparameters, each for a weight of its own. What one weight's penalty does to the
    others it leaves to b.
    """

    def init(
        self, space: BoundSpace, weights: Float[Array, " weight"], *, key: PRNGKey
    ) -> "ElementwiseFunction":
        """s = 0 and b the weights.

        Raises:
            ArgumentError: naming a hyperparameter that belongs to no weights.
        """
        owners = jnp.asarray(space.owners().T)
        return ElementwiseFunction(weights, jnp.zeros(owners.shape, weights.dtype), owners)


class ElementwiseFunction(eqx.Module):
    """An elementwise response; `owners` says which coordinate each weight follows, by hyperparameter."""

    bias: Float[Array, " weight"]
    slopes: Float[Array, "name weight"]
    owners: Int[Array, "name weight"]

    def __call__(self, u: Float[Array, " hyper"], centre: Float[Array, " hyper"]) -> Float[Array, " weight"]:
        """The weights at u."""
        return self.bias + jnp.sum(self.slopes * (u - stop_gradient(centre))[self.owners], axis=0)
