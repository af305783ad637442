"""The published model, whose target leak is mended: what is predicted is not among the evidence."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from backthrough.core import PRNGKey
from backthrough.recommend.biases import Biases
from backthrough.recommend.evidence import Cells, Evidence
from backthrough.recommend.network import Ends, Pair, Shown, Vectors
from backthrough.recommend.scale import RatingScale

FEWEST = 2  # ratings behind a vector


class PublishedNetwork(eqx.Module):
    """Recursive Evidence Chains as in the authors' code (arXiv 1807.02150).

    A prototype's vector is its own at every depth. Any other is the mean of f([v; r]) over the evidence whose
    own vectors there are, of two ratings at the least; at the end of a chain there is none. One network
    serves all users, and one all items, whatever the depth. A rating is the inner product of both vectors
    (LREC) or what a network makes of them (NNREC), and the mean of all ratings where one is missing.

    Attributes:
        mean: The mean of the ratings that it was fitted to.
        user_prototypes: Their vectors.
        item_prototypes: Their vectors.
        to_user: From an item's vector and a rating.
        to_item: From a user's vector and a rating.
        net: From two vectors to a rating, if it is no inner product.
        depth: Links of a chain.
    """

    mean: float = eqx.field(static=True)
    user_prototypes: Float[Array, "user_prototype d"]
    item_prototypes: Float[Array, "item_prototype d"]
    to_user: eqx.nn.MLP
    to_item: eqx.nn.MLP
    net: eqx.nn.MLP | None
    steps: tuple[float, ...] = eqx.field(static=True)
    depth: int = eqx.field(static=True)

    def __init__(
        self,
        mean: float,
        *,
        d: int,
        hidden_size: int,
        depth: int,
        scale: RatingScale,
        n_prototypes: tuple[int, int],
        pair: Pair,
        key: PRNGKey,
    ):
        keys = jax.random.split(key, 5)
        self.mean, self.steps, self.depth = mean, scale.steps, depth
        self.user_prototypes = 0.1 * jax.random.normal(keys[0], (n_prototypes[0], d))
        self.item_prototypes = 0.1 * jax.random.normal(keys[1], (n_prototypes[1], d))
        self.to_user = eqx.nn.MLP(d + 1, d, hidden_size, 2, key=keys[2])
        self.to_item = eqx.nn.MLP(d + 1, d, hidden_size, 2, key=keys[3])
        self.net = None if pair == "product" else eqx.nn.MLP(2 * d, "scalar", hidden_size, 2, key=keys[4])

    def vectors(
        self,
        evidence: Evidence,
        user_prototypes: Int[Array, " user_prototype"],
        item_prototypes: Int[Array, " item_prototype"],
    ) -> Vectors:
        """Vectors of all users and items from all ratings that count; n is 1 where there is one."""
        d = self.user_prototypes.shape[1]
        dtype = self.user_prototypes.dtype

        def with_own(
            vectors: Array, there: Array, places: Array, own: Array
        ) -> tuple[Float[Array, "node d"], Bool[Array, " node"]]:
            return vectors.at[places].set(own, mode="drop"), there.at[places].set(True, mode="drop")

        users = [
            with_own(
                jnp.zeros((evidence.n_users, d), dtype),
                jnp.zeros(evidence.n_users, bool),
                user_prototypes,
                self.user_prototypes,
            )
        ]
        items = [
            with_own(
                jnp.zeros((evidence.n_items, d), dtype),
                jnp.zeros(evidence.n_items, bool),
                item_prototypes,
                self.item_prototypes,
            )
        ]
        weight = evidence.weight
        for _ in range(self.depth):
            to_users = self._mean(
                self.to_user, *items[-1], evidence.item_cells, weight, evidence.user, evidence.n_users
            )
            to_items = self._mean(
                self.to_item, *users[-1], evidence.user_cells, weight, evidence.item, evidence.n_items
            )
            users.append(with_own(*to_users, user_prototypes, self.user_prototypes))
            items.append(with_own(*to_items, item_prototypes, self.item_prototypes))
        none = Biases(jnp.zeros(evidence.n_users, dtype), jnp.zeros(evidence.n_items, dtype))
        return Vectors(
            none,
            tuple(vectors for vectors, _ in users),
            tuple(vectors for vectors, _ in items),
            users[-1][1].astype(dtype),
            items[-1][1].astype(dtype),
        )

    def _mean(
        self,
        net: eqx.nn.MLP,
        vectors: Float[Array, "node d"],
        there: Bool[Array, " node"],
        cells: Cells,
        weight: Float[Array, " edge"],
        receiver: Int[Array, " edge"],
        n_receivers: int,
    ) -> tuple[Float[Array, "receiver d"], Bool[Array, " receiver"]]:
        """What receivers are told by those that have a vector; and whether two are."""
        steps = jnp.asarray(self.steps, vectors.dtype)
        rating = (1 - cells.part) * steps[cells.step] + cells.part * steps[cells.step + 1]
        said = jax.vmap(net)(jnp.concatenate([vectors[cells.node], rating[:, None]], axis=1))
        counts = weight * there[cells.node[cells.of_edge]]
        total = jax.ops.segment_sum(counts[:, None] * said[cells.of_edge], receiver, n_receivers)
        n = jax.ops.segment_sum(counts, receiver, n_receivers)
        is_there = n >= FEWEST
        return jnp.where(is_there[:, None], total / jnp.maximum(n, 1)[:, None], 0.0), is_there

    def somebody(self, vectors: Vectors, shown: Shown) -> Ends:
        """One who has given these ratings, items being as they are without them."""
        places = jnp.arange(len(shown.item))
        cells = Cells(shown.item, shown.step, shown.part, places)
        before = vectors.items[-2]
        there = (before != 0).any(1)
        vector, is_there = self._mean(
            self.to_user, before, there, cells, shown.weight, jnp.zeros_like(places), 1
        )
        return Ends(vector, jnp.zeros(1, vector.dtype), is_there.astype(vector.dtype))

    def rate(self, user: Ends, item: Ends) -> Float[Array, " pair"]:
        """Ratings of items by users, one by one."""
        u, v = user.vector, item.vector
        found = (u * v).sum(1) if self.net is None else jax.vmap(self.net)(jnp.concatenate([u, v], axis=1))
        return jnp.where((user.n > 0) & (item.n > 0), found, self.mean)
