"""What every predictor of ratings does, whatever it predicts them from."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from backthrough.core import ArgumentError, DataError, check_integer
from backthrough.recommend.scale import RatingScale
from backthrough.recommend.store import Duplicates, Id, RatingStore, columns_of


class RatingPredictor(BaseEstimator):
    """A scikit-learn estimator of ratings, with the store of ratings that it predicts from.

    Attributes:
        ratings_: The store.
        scale_: The ratings' scale.
        mean_: The mean of the ratings that it was fitted to.
    """

    ratings_: RatingStore
    scale_: RatingScale
    mean_: float

    @abstractmethod
    def _rate(
        self, users: Int[np.ndarray, " pair"], items: Int[np.ndarray, " pair"]
    ) -> Float[np.ndarray, " pair"]:
        """Ratings of pairs of numbers, -1 for one that there is not; not cut off at the scale's ends."""

    @abstractmethod
    def _rate_as_somebody(
        self,
        own: Int[np.ndarray, " rating"],
        ratings: Float[np.ndarray, " rating"],
        items: Int[np.ndarray, " item"],
    ) -> Float[np.ndarray, " item"]:
        """Ratings of items by one who has given ratings to `own`; not cut off at the scale's ends."""

    def _forget(self) -> None:  # only for those that keep something
        """Called when the ratings have changed."""

    def predict(self, pairs: Any) -> Float[np.ndarray, " pair"]:
        """Ratings of pairs of user and item, within the scale.

        A user or item without ratings, or that nobody knows, is predicted as one of whom nothing is known;
        `is_known` tells which these are.

        Args:
            pairs: Pairs of ids, or a table with columns user and item.
        """
        check_is_fitted(self)
        users, items = self._numbers_of(pairs)
        return self._within(self._rate(users, items))

    def is_known(self, pairs: Any) -> np.ndarray:
        """Whether user and item of each pair have a rating each, shape (pair, 2)."""
        check_is_fitted(self)
        numbers = self._numbers_of(pairs)
        has = (
            np.bincount(own, minlength=len(names)) > 0
            for own, names in (
                (self.ratings_.user, self.ratings_.users),
                (self.ratings_.item, self.ratings_.items),
            )
        )
        return np.stack(
            [
                (own >= 0) & (rated[own] if len(rated) else False)
                for own, rated in zip(numbers, has, strict=True)
            ],
            axis=1,
        )

    def predict_for(self, ratings: Mapping[Id, float], items: Any) -> Float[np.ndarray, " item"]:
        """Ratings that somebody would give who has given these, and who need not be in the store.

        Args:
            ratings: Items, which others have rated, and somebody's ratings of them.
            items: Ids of items.

        Raises:
            DataError: for an item that nobody has rated, or a rating outside the scale.
        """
        check_is_fitted(self)
        own = self.ratings_.items.find(ratings)
        if (own < 0).any():
            one = list(ratings)[int(np.argmax(own < 0))]
            raise DataError(f"nobody has rated {one!r}, so that it tells nothing: leave it out")
        values = np.array(list(ratings.values()), np.float64)
        self.scale_.check(values)
        return self._within(self._rate_as_somebody(own, values, self.ratings_.items.find(items)))

    def recommend(
        self, user: Id | Mapping[Id, float], *, top_k: int = 10, exclude_seen: bool = True
    ) -> pd.DataFrame:
        """The items that a user is predicted to rate highest: columns item and rating, best first.

        Args:
            user: One of the store, or somebody's ratings, as `predict_for` takes them.
            top_k: How many.
            exclude_seen: Whether items that the user has rated are left out.
        """
        check_is_fitted(self)
        check_integer("top_k", top_k, minimum=1)
        ids = self.ratings_.items.ids
        seen: Mapping[Id, float] = user if isinstance(user, Mapping) else self.ratings_.ratings_of(user)
        if isinstance(user, Mapping):
            found = self.predict_for(user, ids)
        else:
            number = int(self.ratings_.users.find([user])[0])
            items = np.arange(len(ids))
            found = self._within(self._rate(np.full(len(ids), number), items))
        order = np.argsort(-found, kind="stable")
        kept = [place for place in order.tolist() if not exclude_seen or ids[place] not in seen][:top_k]
        return pd.DataFrame({"item": [ids[place] for place in kept], "rating": found[kept]})

    def add_ratings(self, ratings: Any, *, duplicates: Duplicates = "error") -> None:
        """Adds ratings, users and items to the store; see `RatingStore.add`.

        Raises:
            DataError: for ratings outside the scale, and those that the store refuses.
        """
        check_is_fitted(self)
        users, items, values = columns_of(ratings)
        self.scale_.check(values)
        self.ratings_.add(zip(users, items, values.tolist(), strict=True), duplicates=duplicates)
        self._forget()

    def remove_ratings(self, pairs: Any) -> None:
        """Takes ratings back; see `RatingStore.remove`."""
        check_is_fitted(self)
        self.ratings_.remove(pairs)
        self._forget()

    def score(self, ratings: Any, y: Any = None) -> float:
        """Minus the root of the mean squared error, in the ratings' unit.

        Args:
            ratings: As `fit` takes them. None of them may be among those that are predicted from.
            y: Likewise.

        Raises:
            DataError: for a rating that the store has, and that would be predicted from itself.
        """
        users, items, values = columns_of(ratings if y is None else with_ratings(ratings, y))
        if len(values) == 0:
            raise DataError("there are no ratings to score")
        for user, item in zip(users, items, strict=True):
            if (user, item) in self.ratings_:
                raise DataError(
                    f"the rating of {user!r} for {item!r} is among those that are predicted from: a score "
                    "needs ratings that were held out"
                )
        errors = self.predict(zip(users, items, strict=True)) - values
        return -float(np.sqrt(np.mean(np.square(errors))))

    def _start(self, ratings: Any, y: Any, scale: Any) -> None:
        """Takes the ratings to be fitted to."""
        store = as_store(ratings if y is None else with_ratings(ratings, y))
        if len(store) < 2:
            raise DataError(f"there are {len(store)} ratings: to fit takes two at the least")
        self.scale_ = RatingScale.of(store.rating if scale is None else scale)
        self.scale_.check(store.rating)
        self.ratings_, self.mean_ = store, float(store.rating.mean())

    def _numbers_of(self, pairs: Any) -> tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"]]:
        if isinstance(pairs, pd.DataFrame):
            missing = [name for name in ("user", "item") if name not in pairs]
            if missing:
                raise ArgumentError(
                    f"a table of pairs has the columns user and item; {missing[0]} is missing"
                )
            users, items = pairs["user"].tolist(), pairs["item"].tolist()
        else:
            rows = [tuple(pair) for pair in pairs]
            for row in rows:
                if len(row) != 2:
                    raise ArgumentError(f"pairs are of user and item, got {row!r}")
            users, items = [user for user, _ in rows], [item for _, item in rows]
        return self.ratings_.users.find(users), self.ratings_.items.find(items)

    def _within(self, ratings: Float[np.ndarray, " rating"]) -> Float[np.ndarray, " rating"]:
        return np.clip(ratings, self.scale_.low, self.scale_.high)


def as_store(ratings: Any) -> RatingStore:
    """The store itself, or a new one of triples or a table."""
    if isinstance(ratings, RatingStore):
        return ratings
    store = RatingStore()
    store.add(ratings)
    return store


def with_ratings(pairs: Any, y: Any) -> list[tuple[Id, Id, float]]:
    """Triples.

    Raises:
        ArgumentError: if there are not as many of both.
    """
    if isinstance(pairs, pd.DataFrame):
        pairs = pairs.itertuples(index=False)
    rows, values = [tuple(pair) for pair in pairs], np.asarray(y, np.float64).ravel()
    if len(rows) != len(values):
        raise ArgumentError(f"there are {len(rows)} pairs and {len(values)} ratings")
    return [(*pair, rating) for pair, rating in zip(rows, values.tolist(), strict=True)]
