"""Why a rating is predicted: what each rating behind it does, and the chains that carry most weight."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float, Int

from backthrough.core import ArgumentError, check_integer
from backthrough.recommend.evidence import Cells, Evidence, bucket, padded
from backthrough.recommend.network import ChainNetwork, Ends, Level, Vectors, ends
from backthrough.recommend.store import Id
from backthrough.recommend.training import Task

if TYPE_CHECKING:
    from backthrough.recommend.chains import EvidenceChains

CHAINS_FROM = 10  # ratings of most weight, whose own evidence is looked at


@dataclass(frozen=True, eq=False)
class Explanation:
    """Of one prediction.

    Attributes:
        user: Its id.
        item: Its id.
        rating: What is predicted, not cut off at the ends of the scale: the sum of `parts`.
        parts: The mean of all ratings, how far user and item are from it, and what their vectors add.
        evidence: The user's ratings and those of the item that have most weight: a column `of` that says
            which, the other one's id in `id`, the `rating`, its `share` in the vector, and its `effect`, how
            much lower the prediction would be without that rating, exactly.
        chains: From the user, or the item, by one rating and another to who was before there was evidence:
            `first` and `second`, whom the chain goes through, both ratings, and the product of their shares.
    """

    user: Id
    item: Id
    rating: float
    parts: dict[str, float]
    evidence: pd.DataFrame
    chains: pd.DataFrame

    def __str__(self) -> str:
        """In words."""
        lines = [f"{self.user} and {self.item}: {self.rating:.2f}"]
        lines += [f"  {name}: {value:+.2f}" for name, value in self.parts.items()]
        for title, table in (("evidence", self.evidence), ("chains", self.chains)):
            if len(table):
                lines += [title, table.round(3).to_string(index=False)]
        return "\n".join(lines)


class Told(NamedTuple):
    """What one node is told in one level.

    Attributes:
        other: Who tells it.
        rating: By which rating.
        share: Of the vector; the rest is zero's.
        said: Shape (rating, d): the vector is the sum of shares times these.
    """

    other: Int[np.ndarray, " rating"]
    rating: Float[np.ndarray, " rating"]
    share: Float[np.ndarray, " rating"]
    said: Float[np.ndarray, "rating d"]


def explain(model: "EvidenceChains", user: Id, item: Id, *, n_evidence: int, n_chains: int) -> Explanation:
    """The explanation of the first model's prediction.

    Raises:
        ArgumentError: for a model that is not "rec+" or that is several.
    """
    check_integer("n_evidence", n_evidence, minimum=0)
    check_integer("n_chains", n_chains, minimum=0)
    if model.mode != "rec+" or len(model.networks_) > 1:
        raise ArgumentError('explanations are of one model of mode="rec+"')
    network: Any = next(iter(model.networks_))
    store = model.ratings_
    task, (vectors,) = model._current()
    numbers = {"user": int(store.users.find([user])[0]), "item": int(store.items.find([item])[0])}
    pair = jnp.array([numbers["user"]], jnp.int32), jnp.array([numbers["item"]], jnp.int32)
    rating, slopes = _rate_and_slopes(network, vectors, *pair)
    biases = {
        side: float(own[numbers[side]]) if numbers[side] >= 0 else 0.0
        for side, own in (("user", vectors.biases.user), ("item", vectors.biases.item))
    }
    parts = {"mean": network.mean, "user": biases["user"], "item": biases["item"]}
    parts["vectors"] = float(rating) - sum(parts.values())
    found, chains = [], []
    depth = len(network.user_levels)
    for side, slope in zip(("user", "item"), slopes, strict=True):
        if numbers[side] < 0:
            continue
        told = _told(model, network, vectors, side, numbers[side], depth)
        others = store.items if side == "user" else store.users
        weight = np.abs(told.share * (told.said @ np.asarray(slope, np.float64)))
        for place in np.argsort(-weight, kind="stable"):
            found.append((weight[place], side, told, place))
        for place in np.argsort(-told.share, kind="stable")[:CHAINS_FROM]:
            chains += _second_links(model, network, vectors, side, told, int(place), others.ids)
    found.sort(key=lambda row: -row[0])
    rows = []
    for _, side, told, place in found[:n_evidence]:
        other = int(told.other[place])
        edge = (numbers["user"], other) if side == "user" else (other, numbers["item"])
        without = _rate_without(network, task, *pair, jnp.array(_edge(store, *edge), jnp.int32))
        names = store.items if side == "user" else store.users
        effect = float(rating) - float(without)
        rows.append((side, names.ids[other], told.rating[place], told.share[place], effect))
    evidence = pd.DataFrame(rows, columns=["of", "id", "rating", "share", "effect"])
    chains.sort(key=lambda row: -row[-1])
    columns = ["of", "first", "rating", "second", "its rating", "is prototype", "share"]
    return Explanation(
        user, item, float(rating), parts, evidence, pd.DataFrame(chains[:n_chains], columns=columns)
    )


def _edge(store: Any, user: int, item: int) -> int:
    places, _ = store.places(np.array([user]), np.array([item]))
    return int(places[0])


def _second_links(
    model: "EvidenceChains",
    network: ChainNetwork,
    vectors: Vectors,
    side: str,
    told: Told,
    place: int,
    ids: list[Id],
) -> list[tuple]:
    """What the one that tells was told by others, one level below."""
    store, level = model.ratings_, len(network.user_levels) - 1
    other_side = "item" if side == "user" else "user"
    first = ids[told.other[place]]
    if level == 0:
        return [(side, first, told.rating[place], None, np.nan, False, told.share[place])]
    inner = _told(model, network, vectors, other_side, int(told.other[place]), level)
    names = store.users if side == "user" else store.items
    prototypes = set(model.prototypes_[side == "item"])
    return [
        (
            side,
            first,
            told.rating[place],
            names.ids[one],
            rating,
            names.ids[one] in prototypes,
            told.share[place] * share,
        )
        for one, rating, share in zip(inner.other, inner.rating, inner.share, strict=True)
    ]


def _told(
    model: "EvidenceChains", network: ChainNetwork, vectors: Vectors, side: str, number: int, level: int
) -> Told:
    """What a node is told in a level, 1 being the first."""
    store = model.ratings_
    is_own = (store.user if side == "user" else store.item) == number
    other = (store.item if side == "user" else store.user)[is_own]
    rating = store.rating[is_own]
    n = len(other)
    step, part = model.scale_.place(rating)
    float_type = jnp.result_type(float)
    cells = Cells(
        padded(other, jnp.int32), padded(step, jnp.int32), padded(part, float_type), jnp.arange(bucket(n))
    )
    is_user = side == "user"
    own, others = vectors.biases if is_user else reversed(vectors.biases)
    below = (vectors.items if is_user else vectors.users)[level - 1]
    part_of_network = (network.user_levels if is_user else network.item_levels)[level - 1]
    residual = padded(rating, float_type) - network.mean - own[number] - others[cells.node]
    share, said = _shares(part_of_network, below, cells, residual, padded(np.ones(n), float_type))
    return Told(other, rating, np.asarray(share, np.float64)[:n], np.asarray(said, np.float64)[:n])


@eqx.filter_jit
def _shares(
    level: Level, below: Array, cells: Cells, residual: Array, weight: Array
) -> tuple[Float[Array, " rating"], Float[Array, "rating d"]]:
    messages = level.messages(below, cells)
    weight = weight * jnp.exp(messages.gate)
    share = weight / (jnp.exp(level.shrinkage) + weight.sum())
    return share, messages.plain + residual[:, None] * messages.slope


@eqx.filter_jit
def _rate_and_slopes(
    network: ChainNetwork, vectors: Vectors, user: Array, item: Array
) -> tuple[Array, tuple[Array, Array]]:
    """The rating, and how it goes with both vectors."""
    one, other = ends(vectors, user, of="user"), ends(vectors, item, of="item")

    def of_vectors(u: Array, v: Array) -> Array:
        return network.rate(Ends(u, *one[1:]), Ends(v, *other[1:]))[0]

    rating, slopes = jax.value_and_grad(of_vectors, argnums=(0, 1))(one.vector, other.vector)
    return rating, (slopes[0][0], slopes[1][0])


@eqx.filter_jit
def _rate_without(network: ChainNetwork, task: Task, user: Array, item: Array, edge: Array) -> Array:
    """The rating if one of the ratings were not there."""
    evidence: Evidence = eqx.tree_at(
        lambda own: own.weight, task.evidence, task.evidence.weight.at[edge].set(0)
    )
    vectors = network.vectors(evidence, task.user_prototypes, task.item_prototypes)
    return network.rate(ends(vectors, user, of="user"), ends(vectors, item, of="item"))[0]
