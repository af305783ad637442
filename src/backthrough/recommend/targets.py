"""Which ratings are to be predicted in a step, and which are the evidence for them: never the same."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from backthrough.core import PRNGKey
from backthrough.recommend.evidence import Evidence

LEAST, MOST = 0.09, 0.51  # part of the ratings that are targets
FEW = 30  # evidence that is left to those who are to be new is less than this


class Split(NamedTuple):
    """One step's.

    Attributes:
        weight: Of each rating as evidence.
        target: Numbers of ratings to be predicted.
        counts: 0 for those that only fill up.
    """

    weight: Float[Array, " edge"]
    target: Int[Array, " target"]
    counts: Float[Array, " target"]


def draw_split(evidence: Evidence, *, cold_start: float, key: PRNGKey) -> Split:
    """Each rating is a target with the same probability, which is drawn anew between 0.09 and 0.51.

    Of a random part `cold_start` of users, and likewise of items, only a few ratings remain evidence, 0 to
    29, the fewer the likelier; all others are targets.

    Since every quantity is made from evidence alone, the rating that is asked for is in no chain, of whatever
    depth and through whatever cycle.
    """
    keys = jax.random.split(key, 6)
    is_there = evidence.weight > 0
    size = len(evidence.weight)
    part = jax.random.uniform(keys[0], (), minval=LEAST, maxval=MOST)
    order = jax.random.uniform(keys[1], (size,))
    is_target = order < part
    if cold_start > 0:
        user = _is_beyond_few(evidence.user, evidence.n_users, order, is_there, cold_start, keys[2])
        item = _is_beyond_few(evidence.item, evidence.n_items, order, is_there, cold_start, keys[3])
        is_target = jnp.where(user[0] | item[0], user[1] | item[1], is_target)
    is_target &= is_there
    n_targets = int(MOST * size) + 1
    _, target = jax.lax.top_k(is_target * (1 + jax.random.uniform(keys[4], (size,))), n_targets)
    weight = jnp.where(is_target, 0.0, evidence.weight)
    return Split(weight, target, is_target[target].astype(weight.dtype))


def _is_beyond_few(
    node: Int[Array, " edge"],
    n_nodes: int,
    order: Float[Array, " edge"],
    is_there: Bool[Array, " edge"],
    probability: float,
    key: PRNGKey,
) -> tuple[Bool[Array, " edge"], Bool[Array, " edge"]]:
    """Whether the node is to be new, and whether the rating is beyond the few that it keeps."""
    keys = jax.random.split(key)
    is_new = jax.random.bernoulli(keys[0], probability, (n_nodes,))
    few = jnp.floor(jnp.exp(jnp.log(FEW) * jax.random.uniform(keys[1], (n_nodes,)))) - 1
    node = jnp.where(is_there, node, n_nodes)
    sequence = jnp.lexsort((order, node))
    sorted_node = node[sequence]
    places = jnp.arange(len(node))
    first = jnp.searchsorted(sorted_node, sorted_node)
    rank = jnp.zeros(len(node), jnp.int32).at[sequence].set((places - first).astype(jnp.int32))
    of_edge = is_new[jnp.minimum(node, n_nodes - 1)]
    return of_edge, of_edge & (rank >= few[jnp.minimum(node, n_nodes - 1)])
