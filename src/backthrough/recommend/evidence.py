"""Ratings as arrays that programs take: padded, so that a few more of them need no other program."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from backthrough.recommend.scale import RatingScale


class Cells(eqx.Module):
    """Pairs of a node and a rating that occur: what a node says with a rating is computed once for each.

    Attributes:
        node: User or item.
        step: The step of the scale below the rating.
        part: Of the way from there to the next step.
        of_edge: The cell of each rating.
    """

    node: Int[Array, " cell"]
    step: Int[Array, " cell"]
    part: Float[Array, " cell"]
    of_edge: Int[Array, " edge"]


class Evidence(eqx.Module):
    """Ratings of items by users, and which of them count.

    Attributes:
        user: Of each rating.
        item: Of each rating.
        rating: On its scale.
        weight: 1 where it counts; 0 for what is only there to fill up.
        user_cells: Users with a rating.
        item_cells: Items with a rating.
        n_users: Users, those that fill up included.
        n_items: Items, likewise.
    """

    user: Int[Array, " edge"]
    item: Int[Array, " edge"]
    rating: Float[Array, " edge"]
    weight: Float[Array, " edge"]
    user_cells: Cells
    item_cells: Cells
    n_users: int = eqx.field(static=True)
    n_items: int = eqx.field(static=True)


def bucket(n: int) -> int:
    """The next of 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, ...: at most a quarter more than `n`."""
    n = max(n, 16)
    step = 1 << (n.bit_length() - 3)
    return -(-n // step) * step


def padded(values: np.ndarray, dtype: Any, *, fill: float = 0) -> Array:
    """The values, filled up to their bucket."""
    full = np.full(bucket(len(values)), fill, values.dtype)
    full[: len(values)] = values
    return jnp.asarray(full, dtype)


def make_evidence(
    user: Int[np.ndarray, " rating"],
    item: Int[np.ndarray, " rating"],
    rating: Float[np.ndarray, " rating"],
    *,
    n_users: int,
    n_items: int,
    scale: RatingScale,
) -> Evidence:
    """Ratings as padded arrays.

    Args:
        user: Numbers from 0.
        item: Numbers from 0.
        rating: On the scale.
        n_users: Users there are, rated or not.
        n_items: Items there are.
        scale: Of the ratings.
    """
    float_type = jnp.result_type(float)

    def cells(node: np.ndarray) -> Cells:
        pairs = np.c_[node.astype(np.float64), rating]
        unique, of_edge = np.unique(pairs, axis=0, return_inverse=True)
        step, part = scale.place(unique[:, 1])
        return Cells(
            padded(unique[:, 0], jnp.int32),
            padded(step, jnp.int32),
            padded(part, float_type),
            padded(of_edge.ravel(), jnp.int32),
        )

    return Evidence(
        padded(user, jnp.int32),
        padded(item, jnp.int32),
        padded(rating, float_type),
        padded(np.ones(len(user)), float_type),
        cells(user),
        cells(item),
        bucket(n_users),
        bucket(n_items),
    )
