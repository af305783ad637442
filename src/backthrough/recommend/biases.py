"""What is known of a rating from how its user and its item are rated on average."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from backthrough.recommend.evidence import Evidence

USER_DAMPING, ITEM_DAMPING = 8.0, 3.0
SWEEPS = 4


class Biases(NamedTuple):
    """How far users and items are from the mean.

    Attributes:
        user: 0 without evidence.
        item: 0 without evidence.
    """

    user: Float[Array, " user"]
    item: Float[Array, " item"]


def biases(evidence: Evidence, mean: float) -> Biases:
    """Damped means of what is left of the ratings, items first, users then, four times.

    b_i = sum(r - mean - b_u) / (3 + n_i) and b_u = sum(r - mean - b_i) / (8 + n_u), over the ratings that
    count.
    """
    above, weight = evidence.rating - mean, evidence.weight

    def of_users(values: Array) -> Array:
        return jax.ops.segment_sum(weight * values, evidence.user, evidence.n_users)

    def of_items(values: Array) -> Array:
        return jax.ops.segment_sum(weight * values, evidence.item, evidence.n_items)

    per_user = USER_DAMPING + of_users(jnp.ones_like(above))
    per_item = ITEM_DAMPING + of_items(jnp.ones_like(above))
    user = jnp.zeros(evidence.n_users, above.dtype)
    item = jnp.zeros(evidence.n_items, above.dtype)
    for _ in range(SWEEPS):
        item = of_items(above - user[evidence.user]) / per_item
        user = of_users(above - item[evidence.item]) / per_user
    return Biases(user, item)


def damped_biases(
    user: Int[np.ndarray, " rating"],
    item: Int[np.ndarray, " rating"],
    above: Float[np.ndarray, " rating"],
    *,
    sizes: tuple[int, int],
    damping: tuple[float, float],
) -> tuple[Float[np.ndarray, " user"], Float[np.ndarray, " item"]]:
    """How far users and items are from the mean: as `biases`, on the host and with any damping."""
    of_user, of_item = np.zeros(sizes[0]), np.zeros(sizes[1])
    n_user, n_item = np.bincount(user, minlength=sizes[0]), np.bincount(item, minlength=sizes[1])
    for _ in range(SWEEPS):
        of_item = np.bincount(item, above - of_user[user], sizes[1]) / (damping[1] + n_item)
        of_user = np.bincount(user, above - of_item[item], sizes[0]) / (damping[0] + n_user)
    return of_user, of_item
