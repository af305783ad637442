"""Recommendations from chains of evidence, by an estimator that takes new ratings without a new fit."""

from pathlib import Path
from typing import Any, no_type_check

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.stats import norm
from sklearn.utils.validation import check_is_fitted

from backthrough.core import ArgumentError, check_choice, check_integer, check_positive, seed_of
from backthrough.recommend.evidence import Evidence, make_evidence, padded
from backthrough.recommend.explanation import Explanation, explain
from backthrough.recommend.network import ChainNetwork, Ends, Shown, Vectors, ends
from backthrough.recommend.predictor import RatingPredictor, as_store
from backthrough.recommend.published import PublishedNetwork
from backthrough.recommend.scale import RatingScale
from backthrough.recommend.store import Id
from backthrough.recommend.training import Task, train
from backthrough.train import Run, arrays_of, load_model, save_model, with_arrays

KIND = "evidence chains"
MODES = ("rec+", "rec")


class EvidenceChains(RatingPredictor):
    """Predicts ratings from chains of other ratings (Recursive Evidence Chains, arXiv 1807.02150).

    No parameter belongs to a user or an item, but for a few prototypes: vectors are made of the ratings that
    there are. So new users, new items, new ratings and ratings that are taken back count at once, and the
    model is as small for a million users as for a hundred.

    Args:
        mode: "rec+", or "rec" for the published model: vectors of prototypes are theirs, others are means of
            what a network makes of the vectors and ratings behind them, and two ratings at least.
        pair: From two vectors to a rating: "both" the inner product and a network ("rec+" as it is meant),
            "product" (the paper's LREC) or "network" (its NNREC).
        d: Length of vectors.
        hidden_size: Width of the networks.
        depth: Links of a chain: 2 for what those think who rated the same.
        n_prototypes: At most so many users, and as many items, those with most ratings, start from a vector
            of their own. In "rec+" it goes to those that they share a rating with, and not into their own
            predictions. In "rec" with a prototype for each, it is matrix factorisation.
        n_models: Trainings with other seeds, whose mean predicts; intervals are wider where they differ.
        n_steps: Steps of training, each with all ratings.
        learning_rate: The largest; it falls along half a cosine.
        weight_decay: Of AdamW.
        cold_start: Part of users, and of items, that are treated as new in a step of training: it makes the
            predictions for new ones better, and those for old ones a little worse.
        scale: Values that ratings may have, such as `[1, 2, 3, 4, 5]`; from those that there are by default.
        random_state: A seed, a `numpy.random.RandomState`, or None for a new seed at each fit.

    Attributes:
        networks_: The parameters of each model.
        prototypes_: Ids of users and of items.
        noise_: Standard deviation of the ratings around their predictions, when each was left out.

    Examples:
        >>> ratings = [(f"u{u}", f"i{i}", float((u + i) % 3)) for u in range(8) for i in range(8) if u != i]
        >>> model = EvidenceChains(n_steps=2, d=2, hidden_size=3, random_state=0).fit(ratings)
        >>> model.predict([("u0", "i0"), ("somebody", "i0")]).shape
        (2,)
    """

    networks_: tuple[ChainNetwork | PublishedNetwork, ...]
    prototypes_: tuple[tuple[Id, ...], tuple[Id, ...]]
    noise_: float

    @no_type_check  # as scikit-learn has it, fit checks the settings
    def __init__(
        self,
        *,
        mode: str = "rec+",
        pair: str = "both",
        d: int = 24,
        hidden_size: int = 64,
        depth: int = 2,
        n_prototypes: int = 200,
        n_models: int = 1,
        n_steps: int = 400,
        learning_rate: float = 1e-2,
        weight_decay: float = 1e-3,
        cold_start: float = 0.15,
        scale: Any = None,
        random_state: Any = None,
    ):
        self.mode = mode
        self.pair = pair
        self.d = d
        self.hidden_size = hidden_size
        self.depth = depth
        self.n_prototypes = n_prototypes
        self.n_models = n_models
        self.n_steps = n_steps
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
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
            run: A run directory for metrics and checkpoints of the training, which with one can be stopped
                and resumed. Of one model only.

        Raises:
            ArgumentError: for a wrong setting.
            DataError: for ratings that cannot be used.
            DivergenceError: if a number becomes NaN or infinite in training.
        """
        self._check_settings()
        if run is not None and self.n_models > 1:
            raise ArgumentError("a run directory holds one training: fit one model, or leave run out")
        self._start(ratings, y, self.scale)
        store = self.ratings_
        counts = np.bincount(store.user), np.bincount(store.item)
        prototypes = [
            np.argsort(-own, kind="stable")[: min(self.n_prototypes, np.count_nonzero(own))] for own in counts
        ]
        users, items = (
            tuple(names.ids[number] for number in numbers)
            for names, numbers in zip((store.users, store.items), prototypes, strict=True)
        )
        self.prototypes_ = users, items
        task = Task(self._evidence(), *(jnp.asarray(numbers, jnp.int32) for numbers in prototypes))
        keys = jax.random.split(jax.random.key(seed_of(self.random_state)), (self.n_models, 2))
        trained = [
            train(
                self._make(self.mean_, self.scale_, (len(users), len(items)), start),
                task,
                n_steps=self.n_steps,
                learning_rate=self.learning_rate,
                weight_decay=self.weight_decay,
                cold_start=self.cold_start,
                key=key,
                run=run,
            )
            for start, key in keys
        ]
        self.networks_ = tuple(own.network for own in trained)
        self.noise_ = float(np.sqrt(np.mean([own.error**2 for own in trained])))
        self._forget()
        return self

    def predict_interval(self, pairs: Any, level: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
        """The ends of intervals that hold the ratings with a probability of `level`, cut off at the scale.

        They are those of a normal distribution with the variance of ratings that were left out in training,
        and between models, if there are several.
        """
        if not 0 < level < 1:
            raise ArgumentError(f"level must be between 0 and 1, got {level!r}")
        check_is_fitted(self)
        each = self._each(*self._numbers_of(pairs))
        between = each.var(0, ddof=1) if len(each) > 1 else 0.0
        reach = norm.ppf(0.5 + level / 2) * np.sqrt(self.noise_**2 + between)
        middle = each.mean(0)
        return self._within(middle - reach), self._within(middle + reach)

    def explain(self, user: Id, item: Id, *, n_evidence: int = 10, n_chains: int = 10) -> Explanation:
        """Why this rating: what each rating behind it does, and the chains with most weight.

        Args:
            user: With ratings or without.
            item: With ratings or without.
            n_evidence: Ratings that are left out, one by one, to see what they do: those of most weight.
            n_chains: Chains that are told.
        """
        check_is_fitted(self)
        return explain(self, user, item, n_evidence=n_evidence, n_chains=n_chains)

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
                "mean": self.mean_,
                "noise": self.noise_,
                "steps": list(self.scale_.steps),
                "prototypes": [list(ids) for ids in self.prototypes_],
            },
            arrays={
                f"{model} {index}": array
                for model, network in enumerate(self.networks_)
                for index, array in enumerate(arrays_of(network))
            },
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
        model.scale_ = RatingScale(tuple(settings["steps"]))
        model.mean_, model.noise_ = settings["mean"], settings["noise"]
        users, items = settings["prototypes"]
        model.prototypes_ = tuple(users), tuple(items)

        def make(key: Array) -> Any:
            return model._make(model.mean_, model.scale_, (len(users), len(items)), key)

        n = len(arrays) // model.n_models
        model.networks_ = tuple(
            with_arrays(make, [arrays[f"{own} {index}"] for index in range(n)])
            for own in range(model.n_models)
        )
        model.ratings_ = as_store(ratings)
        model.scale_.check(model.ratings_.rating)
        model._forget()
        return model

    def _check_settings(self) -> None:
        check_choice("mode", self.mode, MODES)
        check_choice("pair", self.pair, ("both", "product", "network"))
        least = {"d": 1, "hidden_size": 1, "depth": 1, "n_prototypes": 0, "n_models": 1, "n_steps": 1}
        for name, minimum in least.items():
            check_integer(name, getattr(self, name), minimum=minimum)
        check_positive("learning_rate", self.learning_rate)
        if self.mode == "rec" and self.n_prototypes == 0:
            raise ArgumentError('mode="rec" needs prototypes: all other vectors are made from theirs')
        if not 0 <= self.weight_decay < np.inf:
            raise ArgumentError(f"weight_decay must be finite and not negative, got {self.weight_decay!r}")
        if not 0 <= self.cold_start <= 1:
            raise ArgumentError(f"cold_start must lie in [0, 1], got {self.cold_start!r}")

    def _make(
        self, mean: float, scale: RatingScale, n_prototypes: tuple[int, int], key: Array
    ) -> ChainNetwork | PublishedNetwork:
        kind = ChainNetwork if self.mode == "rec+" else PublishedNetwork
        return kind(
            mean,
            d=self.d,
            hidden_size=self.hidden_size,
            depth=self.depth,
            scale=scale,
            n_prototypes=n_prototypes,
            pair=self.pair,
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

    def _forget(self) -> None:
        self._kept: tuple[Task, tuple[Vectors, ...]] | None = None

    def _current(self) -> tuple[Task, tuple[Vectors, ...]]:
        """All ratings, and by each model the vectors of all users and items."""
        if self._kept is None:
            evidence = self._evidence()
            sides = zip(
                (self.ratings_.users, self.ratings_.items),
                self.prototypes_,
                (evidence.n_users, evidence.n_items),
                strict=True,
            )
            places = []
            for names, ids, beyond in sides:
                found = names.find(ids) if len(names) else np.full(len(ids), -1)
                places.append(jnp.asarray(np.where(found < 0, beyond, found), jnp.int32))
            task = Task(evidence, *places)
            self._kept = task, tuple(_vectors(network, task) for network in self.networks_)
        return self._kept

    def _each(
        self, users: Int[np.ndarray, " pair"], items: Int[np.ndarray, " pair"]
    ) -> Float[np.ndarray, "model pair"]:
        places = _padded(users), _padded(items)
        _, vectors = self._current()
        found = [
            np.asarray(_rate(network, own, *places), np.float64)[: len(users)]
            for network, own in zip(self.networks_, vectors, strict=True)
        ]
        return np.stack(found)

    def _rate(
        self, users: Int[np.ndarray, " pair"], items: Int[np.ndarray, " pair"]
    ) -> Float[np.ndarray, " pair"]:
        return self._each(users, items).mean(0)

    def _rate_as_somebody(
        self,
        own: Int[np.ndarray, " rating"],
        ratings: Float[np.ndarray, " rating"],
        items: Int[np.ndarray, " item"],
    ) -> Float[np.ndarray, " item"]:
        """Items keep the vectors that they have without these ratings."""
        step, part = self.scale_.place(ratings)
        number = jnp.result_type(float)
        shown = Shown(
            padded(own, jnp.int32),
            padded(step, jnp.int32),
            padded(part, number),
            padded(ratings, number),
            padded(np.ones(len(own)), number),
        )
        _, vectors = self._current()
        found = [
            np.asarray(_rate_as_somebody(network, kept, shown, _padded(items)), np.float64)[: len(items)]
            for network, kept in zip(self.networks_, vectors, strict=True)
        ]
        return np.mean(found, axis=0)


@eqx.filter_jit
def _vectors(network: ChainNetwork | PublishedNetwork, task: Task) -> Vectors:
    return network.vectors(task.evidence, task.user_prototypes, task.item_prototypes)


@eqx.filter_jit
def _rate(network: ChainNetwork | PublishedNetwork, vectors: Vectors, users: Array, items: Array) -> Array:
    return network.rate(ends(vectors, users, of="user"), ends(vectors, items, of="item"))


@eqx.filter_jit
def _rate_as_somebody(
    network: ChainNetwork | PublishedNetwork, vectors: Vectors, shown: Shown, items: Array
) -> Array:
    one = network.somebody(vectors, shown)
    own = ends(vectors, items, of="item")
    alike = jax.tree_util.tree_map(lambda leaf, like: jnp.broadcast_to(leaf, like.shape), one, own)
    return network.rate(Ends(*alike), own)


def _padded(numbers: Int[np.ndarray, " number"]) -> Int[Array, " padded"]:
    return padded(numbers, jnp.int32, fill=-1)  # nobody, and nothing
