"""What is known of a rating from how its user and its item are rated on average."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

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
