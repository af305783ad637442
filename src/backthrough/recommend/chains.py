"""Recommendations from chains of evidence, by an estimator that takes new ratings without a new fit."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, no_type_check

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float, Int
from sklearn.base import BaseEstimator

from backthrough.core import ArgumentError, DataError, check_integer, check_positive, seed_of
from backthrough.recommend.baseline import USER_DAMPING
from backthrough.recommend.evidence import Cells, Evidence, bucket, make_evidence
from backthrough.recommend.network import ChainNetwork, Ends, Vectors, ends
from backthrough.recommend.scale import RatingScale
from backthrough.recommend.store import Duplicates, Id, RatingStore
from backthrough.recommend.training import Task, train
from backthrough.train import Run, arrays_of, load_model, save_model, with_arrays

KIND = "evidence chains"


class EvidenceChains(BaseEstimator):
    """Predicts ratings from chains of other ratings (Recursive Evidence Chains, arXiv 1807.02150).

    No parameter belongs to a user or an item, but for a few prototypes: vectors are made of the ratings that
    there are. So new users, new items, new ratings and ratings that are taken back count at once, and the
    model is as small for a million users as for a hundred.

    Args:
        d: Length of vectors.
        hidden_size: Width of the networks.
        depth: Links of a chain: 2 for what those think who rated the same.
        n_prototypes: At most so many users, and as many items, start from a vector of their own, those with
            most ratings; it goes to those that they share a rating with, and not into their own predictions.
        n_steps: Steps of training, each with all ratings.
        learning_rate: The largest; it falls along half a cosine.
        cold_start: Part of users, and of items, that are treated as new in a step of training: it makes the
            predictions for new ones better, and those for old ones a little worse.
        scale: Values that ratings may have, such as `[1, 2, 3, 4, 5]`; from those that there are by default.
        random_state: A seed, a `numpy.random.RandomState`, or None for a new seed at each fit.

    Attributes:
        ratings_: The store that predictions are made from.
        scale_: The ratings' scale.
        network_: The parameters.

    Examples:
        >>> ratings = [(f"u{u}", f"i{i}", float((u + i) % 3)) for u in range(8) for i in range(8) if u != i]
        >>> model = EvidenceChains(n_steps=2, d=2, hidden_size=3, random_state=0).fit(ratings)
        >>> model.predict([("u0", "i0"), ("somebody", "i0")]).shape
        (2,)
    """

    ratings_: RatingStore
    scale_: RatingScale
    network_: ChainNetwork

    @no_type_check  # as scikit-learn has it, fit checks the settings
    def __init__(
        self,
        *,
        d: int = 24,
        hidden_size: int = 64,
        depth: int = 2,
        n_prototypes: int = 200,
        n_steps: int = 400,
        learning_rate: float = 1e-2,
        cold_start: float = 0.15,
        scale: Any = None,
        random_state: Any = None,
    ):
        self.d = d
        self.hidden_size = hidden_size
        self.depth = depth
        self.n_prototypes = n_prototypes
        self.n_steps = n_steps
        self.learning_rate = learning_rate
        self.cold_start = cold_start
        self.scale = scale
        self.random_state = random_state

    def fit(self, ratings: Any, y: Any = None, *, run: Run | None = None) -> "EvidenceChains":
        """Learns how ratings follow from others.

        Args:
            ratings: Triples of user, item and rating; a table with columns of these names; or a
                `RatingStore`, which predictions then go on to be made from. Or, with `y`, pairs of user and
                item.
            y: Their ratings.
            run: A run directory for metrics and checkpoints; with one, training can be stopped and resumed.

        Raises:
            ArgumentError: for a wrong setting.
            DataError: for ratings that cannot be used.
            DivergenceError: if a number becomes NaN or infinite in training.
        """
        for name, least in {"d": 1, "hidden_size": 1, "depth": 1, "n_prototypes": 0, "n_steps": 1}.items():
            check_integer(name, getattr(self, name), minimum=least)
        check_positive("learning_rate", self.learning_rate)
        if not 0 <= self.cold_start <= 1:
            raise ArgumentError(f"cold_start must lie in [0, 1], got {self.cold_start!r}")
        store = as_store(ratings if y is None else with_ratings(ratings, y))
        if len(store) < 2:
            raise DataError(f"there are {len(store)} ratings: to fit takes two at the least")
        scale = RatingScale.of(store.rating if self.scale is None else self.scale)
        scale.check(store.rating)
        seed = seed_of(self.random_state)
        keys = jax.random.split(jax.random.key(seed))
        prototypes = most_rated(store, self.n_prototypes)
        network = self._make(float(store.rating.mean()), scale, tuple(map(len, prototypes)), keys[0])
        self.ratings_, self.scale_ = store, scale
        self.prototypes_ = tuple(
            tuple(names.ids[number] for number in numbers)
            for names, numbers in zip((store.users, store.items), prototypes, strict=True)
        )
        task = Task(self._evidence(), *(jnp.asarray(numbers, jnp.int32) for numbers in prototypes))
        self.network_ = train(
            network,
            task,
            n_steps=self.n_steps,
            learning_rate=self.learning_rate,
            cold_start=self.cold_start,
            key=keys[1],
            run=run,
        )
        self._vectors = None
        return self

    def predict(self, pairs: Any) -> Float[np.ndarray, " pair"]:
        """Ratings of pairs of user and item, within the scale.

        A user or item without ratings, or that nobody knows, is predicted as one about whom there is no
        evidence.
        """
        store = self.ratings_
        pairs = [tuple(pair) for pair in pairs]
        users, items = store.users.find(u for u, _ in pairs), store.items.find(i for _, i in pairs)
        found = _rate(self.network_, self._current(), *_padded(users, items))
        return self._within(np.asarray(found, np.float64)[: len(pairs)])

    def predict_for(self, ratings: Mapping[Id, float], items: Any) -> Float[np.ndarray, " item"]:
        """Ratings that somebody would give who has given these, and who need not be in the store.

        Items keep the vectors that they have without these ratings.

        Args:
            ratings: Items that the store has, and their ratings.
            items: Items.
        """
        own = self.ratings_.items.find(ratings)
        if (own < 0).any():
            one = list(ratings)[int(np.argmax(own < 0))]
            raise DataError(f"nobody has rated {one!r}, so it tells nothing: leave it out")
        values = np.array(list(ratings.values()), np.float64)
        self.scale_.check(values)
        wanted = self.ratings_.items.find(items)
        size = bucket(len(own))
        step, part = self.scale_.place(values)

        def padded(array: np.ndarray) -> np.ndarray:
            return np.r_[array, np.zeros(size - len(array), array.dtype)]

        arrays = own.astype(np.int32), step, part, values, np.ones(len(own))
        shown = Shown(*(jnp.asarray(padded(array)) for array in arrays))
        _, places = _padded(wanted, wanted)
        found = _rate_somebody(self.network_, self._current(), shown, places)
        return self._within(np.asarray(found, np.float64)[: len(wanted)])

    def recommend(
        self, user: Id | Mapping[Id, float], *, top_k: int = 10, exclude_seen: bool = True
    ) -> pd.DataFrame:
        """The items that a user is predicted to rate highest: columns item and rating, best first.

        Args:
            user: One of the store, or somebody's ratings.
            top_k: How many.
            exclude_seen: Whether items that the user has rated are left out.
        """
        check_integer("top_k", top_k, minimum=1)
        items = self.ratings_.items.ids
        seen = user if isinstance(user, Mapping) else self.ratings_.ratings_of(user)
        found = self.predict_for(seen, items)
        keep = np.array([item not in seen for item in items]) if exclude_seen else np.ones(len(items), bool)
        order = [place for place in np.argsort(-found, kind="stable") if keep[place]][:top_k]
        return pd.DataFrame({"item": [items[place] for place in order], "rating": found[order]})

    def add_ratings(self, ratings: Any, *, duplicates: Duplicates = "error") -> None:
        """Adds ratings, users and items; predictions count them from now on, as `RatingStore.add` has it."""
        self.ratings_.add(ratings, duplicates=duplicates)
        self._vectors = None

    def remove_ratings(self, pairs: Any) -> None:
        """Takes ratings back; predictions are as if they had never been, as `RatingStore.remove` has it."""
        self.ratings_.remove(pairs)
        self._vectors = None

    def score(self, ratings: Any, y: Any = None) -> float:
        """Minus the root of the mean squared error, in the ratings' unit."""
        store = as_store(ratings if y is None else with_ratings(ratings, y))
        pairs = zip(
            (store.users.ids[n] for n in store.user), (store.items.ids[n] for n in store.item), strict=True
        )
        return -float(np.sqrt(np.mean(np.square(self.predict(pairs) - store.rating))))

    def save(self, path: str | Path) -> None:
        """Writes the model to one small file, without the ratings; `EvidenceChains.load` reads it."""
        settings = self.get_params()
        settings["random_state"] = self.random_state if isinstance(self.random_state, int) else None
        settings["scale"] = None if self.scale is None else [float(step) for step in self.scale]
        save_model(
            path,
            KIND,
            settings={
                "parameters": settings,
                "mean": self.network_.mean,
                "steps": list(self.scale_.steps),
                "is_discrete": self.scale_.is_discrete,
                "prototypes": [list(ids) for ids in self.prototypes_],
            },
            arrays={f"{index}": array for index, array in enumerate(arrays_of(self.network_))},
        )

    @classmethod
    def load(cls, path: str | Path, ratings: Any = ()) -> "EvidenceChains":
        """Reads a model that `save` wrote.

        Args:
            path: The file.
            ratings: What predictions are to be made from, as `fit` takes it.

        Raises:
            DataError: naming the file that cannot be read, is damaged, or holds something else; or ratings
                outside the scale of the model.
        """
        settings, arrays = load_model(path, KIND)
        model = cls(**settings["parameters"])
        model.scale_ = RatingScale(tuple(settings["steps"]), settings["is_discrete"])
        model.prototypes_ = tuple(tuple(ids) for ids in settings["prototypes"])
        sizes = tuple(map(len, model.prototypes_))
        weights = [arrays[str(index)] for index in range(len(arrays))]
        model.network_ = with_arrays(
            lambda key: model._make(settings["mean"], model.scale_, sizes, key), weights
        )
        model.ratings_ = as_store(ratings)
        model.scale_.check(model.ratings_.rating)
        model._vectors = None
        return model

    def _make(
        self, mean: float, scale: RatingScale, n_prototypes: tuple[int, ...], key: Array
    ) -> ChainNetwork:
        return ChainNetwork(
            mean,
            d=self.d,
            hidden_size=self.hidden_size,
            depth=self.depth,
            n_steps=len(scale.steps),
            n_prototypes=(n_prototypes[0], n_prototypes[1]),
            key=key,
        )

    def _evidence(self) -> Evidence:
        store = self.ratings_
        return make_evidence(
            store.user,
            store.item,
            store.rating,
            n_users=len(store.users),
            n_items=len(store.items),
            scale=self.scale_,
        )

    def _current(self) -> Vectors:
        """The vectors of all users and items."""
        if self._vectors is None:
            store = self.ratings_
            evidence = self._evidence()
            places = []
            for names, ids, n in zip(
                (store.users, store.items),
                self.prototypes_,
                (evidence.n_users, evidence.n_items),
                strict=True,
            ):
                found = names.find(ids)
                places.append(jnp.asarray(np.where(found < 0, n, found), jnp.int32))  # beyond: dropped
            self._vectors = _vectors(self.network_, evidence, *places)
        return self._vectors

    def _within(self, ratings: Float[np.ndarray, " rating"]) -> Float[np.ndarray, " rating"]:
        return np.clip(ratings, self.scale_.low, self.scale_.high)


class Shown(NamedTuple):
    """What one person has rated."""

    item: Int[Array, " rating"]
    step: Int[Array, " rating"]
    part: Float[Array, " rating"]
    rating: Float[Array, " rating"]
    weight: Float[Array, " rating"]


@eqx.filter_jit
def _vectors(network: ChainNetwork, evidence: Evidence, users: Array, items: Array) -> Vectors:
    return network.vectors(evidence, users, items)


@eqx.filter_jit
def _rate(network: ChainNetwork, vectors: Vectors, users: Array, items: Array) -> Array:
    return network.rate_ends(_ends(vectors, users, "user"), _ends(vectors, items, "item"))


def _ends(vectors: Vectors, numbers: Array, of: Literal["user", "item"]) -> Ends:
    """Those of numbers below 0 are as without evidence: all 0."""
    known = ends(vectors, jnp.maximum(numbers, 0), of=of)
    is_known = numbers >= 0
    return Ends(
        jnp.where(is_known[:, None], known.vector, 0),
        jnp.where(is_known, known.bias, 0),
        jnp.where(is_known, known.n, 0),
    )


@eqx.filter_jit
def _rate_somebody(network: ChainNetwork, vectors: Vectors, shown: Shown, items: Array) -> Array:
    """Ratings of items by one person, whose vector is made from the items' as they are."""
    bias_of_item = vectors.biases.item[shown.item]
    left = shown.weight * (shown.rating - network.mean - bias_of_item)
    n = shown.weight.sum()
    bias = left.sum() / (USER_DAMPING + n)
    residual = shown.rating - network.mean - bias_of_item - bias
    places = jnp.arange(len(shown.item))
    cells = Cells(shown.item, shown.step, shown.part, places)
    last = network.user_levels[-1]
    messages = last.messages(vectors.items[-2], cells)
    vector = last.gather(messages, places, residual, shown.weight, jnp.zeros_like(places), 1)
    own = _ends(vectors, items, "item")
    alike = Ends(
        jnp.broadcast_to(vector, own.vector.shape),
        jnp.broadcast_to(bias, own.bias.shape),
        jnp.broadcast_to(n, own.n.shape),
    )
    return network.rate_ends(alike, own)


def _padded(users: np.ndarray, items: np.ndarray) -> tuple[Array, Array]:
    size = bucket(len(users))
    filled = [np.r_[own, np.full(size - len(own), -1)] for own in (users, items)]
    return jnp.asarray(filled[0], jnp.int32), jnp.asarray(filled[1], jnp.int32)


def as_store(ratings: Any) -> RatingStore:
    """The store itself, or a new one of triples or a table."""
    if isinstance(ratings, RatingStore):
        return ratings
    store = RatingStore()
    store.add(ratings)
    return store


def with_ratings(pairs: Any, y: Any) -> list[tuple[Id, Id, float]]:
    """Triples."""
    pairs = [tuple(pair) for pair in pairs]
    y = np.asarray(y, np.float64).ravel()
    if len(pairs) != len(y):
        raise ArgumentError(f"there are {len(pairs)} pairs and {len(y)} ratings")
    return [(*pair, float(rating)) for pair, rating in zip(pairs, y, strict=True)]


def most_rated(store: RatingStore, n: int) -> tuple[Int[np.ndarray, " user"], Int[np.ndarray, " item"]]:
    """The users and the items with most ratings, at most `n` of each."""
    counts = np.bincount(store.user), np.bincount(store.item)
    users, items = (np.argsort(-own, kind="stable")[: min(n, np.count_nonzero(own))] for own in counts)
    return users, items
