"""Vectors of users and items from chains of ratings, and ratings from vectors.

A vector is never stored for a user or an item, but for a few prototypes: it is made from the vectors of those
that it is joined to by ratings, which are made in the same way, up to a depth.
"""

from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from backthrough.core import PRNGKey, Scalar
from backthrough.recommend.biases import USER_DAMPING, Biases, biases
from backthrough.recommend.evidence import Cells, Evidence
from backthrough.recommend.scale import RatingScale

LARGEST_GATE = 6.0

Pair = Literal["both", "product", "network"]


class Messages(NamedTuple):
    """What the cells of one side say: `plain + residual * slope`, with the weight exp(gate)."""

    plain: Float[Array, "cell d"]
    slope: Float[Array, "cell d"]
    gate: Float[Array, " cell"]


class Level(eqx.Module):
    """How the vectors of one side are made from those of the other.

    Attributes:
        from_vector: Hidden units from the other side's vector.
        from_step: Hidden units from the step of the rating.
        hidden_bias: Of the hidden units.
        out: Message, its slope in the residual, and its gate.
        shrinkage: Logarithm of the weight of the zero vector beside the evidence.
    """

    from_vector: Float[Array, "hidden d"]
    from_step: Float[Array, "step hidden"]
    hidden_bias: Float[Array, " hidden"]
    out: eqx.nn.Linear
    shrinkage: Scalar

    def __init__(self, d: int, n_steps: int, hidden_size: int, *, key: PRNGKey):
        keys = jax.random.split(key, 3)
        spread = (d + n_steps) ** -0.5
        self.from_vector = spread * jax.random.normal(keys[0], (hidden_size, d))
        self.from_step = spread * jax.random.normal(keys[1], (n_steps, hidden_size))
        self.hidden_bias = jnp.zeros(hidden_size)
        self.out = eqx.nn.Linear(hidden_size, 2 * d + 1, key=keys[2])
        self.shrinkage = jnp.log(jnp.array(3.0))

    def messages(self, vectors: Float[Array, "node d"], cells: Cells) -> Messages:
        """What each cell says, its node having this vector."""
        from_node = vectors @ self.from_vector.T
        steps = self.from_step[cells.step], self.from_step[cells.step + 1]
        part = cells.part[:, None]
        hidden = jax.nn.relu(
            from_node[cells.node] + (1 - part) * steps[0] + part * steps[1] + self.hidden_bias
        )
        said = jax.vmap(self.out)(hidden)
        d = (said.shape[1] - 1) // 2
        gate = jnp.clip(said[:, -1], -LARGEST_GATE, LARGEST_GATE)
        return Messages(said[:, :d], said[:, d : 2 * d], gate)

    def gather(
        self,
        messages: Messages,
        of_edge: Int[Array, " edge"],
        residual: Float[Array, " edge"],
        weight: Float[Array, " edge"],
        receiver: Int[Array, " edge"],
        n_receivers: int,
    ) -> Float[Array, "receiver d"]:
        """The weighted mean of what each receiver is told, with some weight of zero."""
        weight = weight * jnp.exp(messages.gate)[of_edge]
        said = messages.plain[of_edge] + residual[:, None] * messages.slope[of_edge]
        total = jax.ops.segment_sum(weight[:, None] * said, receiver, n_receivers)
        weights = jax.ops.segment_sum(weight, receiver, n_receivers)
        return total / (jnp.exp(self.shrinkage) + weights)[:, None]


class Vectors(NamedTuple):
    """All that a rating is predicted from.

    Attributes:
        biases: Of users and items.
        users: Their vectors at each level, from those before there is evidence to those that count.
        items: Likewise.
        n_of_user: How many ratings of the user count.
        n_of_item: How many ratings of the item count.
    """

    biases: Biases
    users: tuple[Float[Array, "user d"], ...]
    items: tuple[Float[Array, "item d"], ...]
    n_of_user: Float[Array, " user"]
    n_of_item: Float[Array, " item"]


class Ends(NamedTuple):
    """What a rating is predicted from on one of its sides.

    Attributes:
        vector: Of user or item.
        bias: How far it is from the mean.
        n: How many ratings are behind it.
    """

    vector: Float[Array, "end d"]
    bias: Float[Array, " end"]
    n: Float[Array, " end"]


class Shown(NamedTuple):
    """What one person has rated.

    Attributes:
        item: Of each rating.
        step: The step of the scale below it.
        part: Of the way to the next step.
        rating: Itself.
        weight: 1; 0 for what only fills up.
    """

    item: Int[Array, " rating"]
    step: Int[Array, " rating"]
    part: Float[Array, " rating"]
    rating: Float[Array, " rating"]
    weight: Float[Array, " rating"]


def ends(vectors: Vectors, numbers: Int[Array, " end"], *, of: Literal["user", "item"]) -> Ends:
    """Of some users, or of some items; for a number below 0 as without evidence, where all is 0."""
    every = (
        (vectors.users[-1], vectors.biases.user, vectors.n_of_user)
        if of == "user"
        else (vectors.items[-1], vectors.biases.item, vectors.n_of_item)
    )
    vector, bias, n = (own[jnp.maximum(numbers, 0)] for own in every)
    is_known = numbers >= 0
    return Ends(
        jnp.where(is_known[:, None], vector, 0), jnp.where(is_known, bias, 0), jnp.where(is_known, n, 0)
    )


class ChainNetwork(eqx.Module):
    """All parameters; none belongs to a user or item but those of prototypes.

    Attributes:
        mean: The mean of the ratings that it was fitted to.
        user_start: The vector of a user before there is evidence.
        item_start: The vector of an item before there is evidence.
        user_prototypes: Vectors that some users start from instead.
        item_prototypes: Vectors that some items start from instead.
        user_levels: How users' vectors are made from items', first level first.
        item_levels: How items' vectors are made from users'.
        net: From two vectors, and how many ratings are behind them, to a part of the rating.
        pair: Whether that is added to the vectors' inner product ("both"), in its place ("network"), or not
            there ("product").
    """

    mean: float = eqx.field(static=True)
    user_start: Float[Array, " d"]
    item_start: Float[Array, " d"]
    user_prototypes: Float[Array, "user_prototype d"]
    item_prototypes: Float[Array, "item_prototype d"]
    user_levels: tuple[Level, ...]
    item_levels: tuple[Level, ...]
    net: eqx.nn.MLP | None
    pair: Pair = eqx.field(static=True)

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
        keys = iter(jax.random.split(key, 5 + 2 * depth))
        self.mean = mean
        self.user_start = 0.1 * jax.random.normal(next(keys), (d,))
        self.item_start = 0.1 * jax.random.normal(next(keys), (d,))
        self.user_prototypes = 0.1 * jax.random.normal(next(keys), (n_prototypes[0], d))
        self.item_prototypes = 0.1 * jax.random.normal(next(keys), (n_prototypes[1], d))
        self.user_levels = tuple(
            Level(d, len(scale.steps), hidden_size, key=next(keys)) for _ in range(depth)
        )
        self.item_levels = tuple(
            Level(d, len(scale.steps), hidden_size, key=next(keys)) for _ in range(depth)
        )
        self.pair = pair
        self.net = (
            None if pair == "product" else eqx.nn.MLP(4 * d + 2, "scalar", hidden_size, 1, key=next(keys))
        )

    def vectors(
        self,
        evidence: Evidence,
        user_prototypes: Int[Array, " user_prototype"],
        item_prototypes: Int[Array, " item_prototype"],
    ) -> Vectors:
        """Vectors of all users and items from all ratings that count, level by level.

        Args:
            evidence: The ratings.
            user_prototypes: Which users the prototypes are; one that there is not has a number beyond all.
            item_prototypes: Which items the prototypes are, likewise.
        """
        own = biases(evidence, self.mean)
        residual = evidence.rating - self.mean - own.user[evidence.user] - own.item[evidence.item]
        user = jnp.broadcast_to(self.user_start, (evidence.n_users, len(self.user_start)))
        item = jnp.broadcast_to(self.item_start, (evidence.n_items, len(self.item_start)))
        user = user.at[user_prototypes].set(self.user_prototypes, mode="drop")
        item = item.at[item_prototypes].set(self.item_prototypes, mode="drop")
        users, items = [user], [item]
        for of_user, of_item in zip(self.user_levels, self.item_levels, strict=True):
            to_users = of_user.messages(items[-1], evidence.item_cells)
            to_items = of_item.messages(users[-1], evidence.user_cells)
            weight = evidence.weight
            user = of_user.gather(
                to_users, evidence.item_cells.of_edge, residual, weight, evidence.user, evidence.n_users
            )
            item = of_item.gather(
                to_items, evidence.user_cells.of_edge, residual, weight, evidence.item, evidence.n_items
            )
            users.append(user)
            items.append(item)
        n_of_user = jax.ops.segment_sum(evidence.weight, evidence.user, evidence.n_users)
        n_of_item = jax.ops.segment_sum(evidence.weight, evidence.item, evidence.n_items)
        return Vectors(own, tuple(users), tuple(items), n_of_user, n_of_item)

    def somebody(self, vectors: Vectors, shown: Shown) -> Ends:
        """One who has given these ratings, items being as they are without them."""
        above = shown.rating - self.mean - vectors.biases.item[shown.item]
        n = shown.weight.sum()
        bias = (shown.weight * above).sum() / (USER_DAMPING + n)
        places = jnp.arange(len(shown.item))
        level = self.user_levels[-1]
        messages = level.messages(vectors.items[-2], Cells(shown.item, shown.step, shown.part, places))
        vector = level.gather(messages, places, above - bias, shown.weight, jnp.zeros_like(places), 1)
        return Ends(vector, bias[None], n[None])

    def rate(self, user: Ends, item: Ends) -> Float[Array, " pair"]:
        """Ratings of items by users, one by one; not cut off at the ends of the scale."""
        u, v = user.vector, item.vector
        rating = self.mean + user.bias + item.bias
        if self.pair != "network":
            rating += (u * v).sum(1)
        if self.net is not None:
            often = jnp.log1p(jnp.stack([user.n, item.n], axis=1)) / 5
            features = jnp.concatenate([u, v, u * v, jnp.abs(u - v), often], axis=1)
            rating += jax.vmap(self.net)(features)
        return rating
