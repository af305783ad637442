"""The penalty most often tuned."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from backthrough.core import PyTree, Scalar


def weighted_l2(params: PyTree, weight: Any) -> Scalar:
    """sum over all weights of weight * w^2.

    Args:
        params: Any pytree; its floating-point arrays count.
        weight: A number, or a pytree of numbers and arrays that broadcast with those of `params`, as a
            hyperparameter per layer, output or weight comes to the training loss.

    Examples:
        >>> float(weighted_l2({"w": jnp.array([1.0, 2.0])}, {"w": jnp.array([1.0, 10.0])}))
        41.0
    """
    arrays = eqx.filter(params, eqx.is_inexact_array)
    if jax.tree_util.tree_structure(weight) != jax.tree_util.tree_structure(arrays):
        weight = jax.tree_util.tree_map(lambda _: weight, arrays)
    each = jax.tree_util.tree_map(lambda w, own: jnp.sum(own * jnp.square(w)), arrays, weight)
    return jax.tree_util.tree_reduce(jnp.add, each)
