"""What chains are compared with: means of users and items, and matrix factorisation."""

from typing import Any, no_type_check

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_matrix

from backthrough.core import check_integer, check_positive, seed_of
from backthrough.recommend.biases import ITEM_DAMPING, USER_DAMPING, damped_biases
from backthrough.recommend.predictor import RatingPredictor


class _WithBiases(RatingPredictor):
    """What both have: damped biases of all ratings in the store."""

    def _damping(self) -> tuple[float, float]:
        """Of users and of items."""
        return USER_DAMPING, ITEM_DAMPING

    def _forget(self) -> None:
        store = self.ratings_
        self._biases = damped_biases(
            store.user,
            store.item,
            store.rating - self.mean_,
            sizes=(len(store.users), len(store.items)),
            damping=self._damping(),
        )

    def _rate(
        self, users: Int[np.ndarray, " pair"], items: Int[np.ndarray, " pair"]
    ) -> Float[np.ndarray, " pair"]:
        user, item = self._biases
        return self.mean_ + _or_zero(user, users) + _or_zero(item, items)

    def _bias_of_somebody(
        self, own: Int[np.ndarray, " rating"], ratings: Float[np.ndarray, " rating"]
    ) -> float:
        above = ratings - self.mean_ - self._biases[1][own]
        return float(above.sum() / (self._damping()[0] + len(own)))

    def _rate_as_somebody(
        self,
        own: Int[np.ndarray, " rating"],
        ratings: Float[np.ndarray, " rating"],
        items: Int[np.ndarray, " item"],
    ) -> Float[np.ndarray, " item"]:
        return self.mean_ + self._bias_of_somebody(own, ratings) + _or_zero(self._biases[1], items)


class BiasBaseline(_WithBiases):
    """The mean of all ratings, and how far user and item are from it, by damped means.

    Args:
        user_damping: Ratings at the mean that each user is thought to have given besides.
        item_damping: Likewise of items.
        scale: As for `EvidenceChains`.

    Examples:
        >>> model = BiasBaseline().fit([("ann", "Alien", 4), ("ann", "Heat", 2), ("bob", "Alien", 5)])
        >>> model.predict([("bob", "Heat")]).round(2).tolist()
        [3.39]
    """

    @no_type_check
    def __init__(
        self, *, user_damping: float = USER_DAMPING, item_damping: float = ITEM_DAMPING, scale: Any = None
    ):
        self.user_damping = user_damping
        self.item_damping = item_damping
        self.scale = scale

    def fit(self, ratings: Any, y: Any = None) -> "BiasBaseline":
        """Takes the ratings, as `EvidenceChains.fit` does."""
        check_positive("user_damping", self.user_damping)
        check_positive("item_damping", self.item_damping)
        self._start(ratings, y, self.scale)
        self._forget()
        return self

    def _damping(self) -> tuple[float, float]:
        return self.user_damping, self.item_damping


class BiasedMF(_WithBiases):
    """Matrix factorisation with damped biases, by alternating least squares; new users are folded in.

    Args:
        n_factors: Length of vectors.
        regularisation: Of the squared length of each vector, times the number of its ratings plus 1.
        n_sweeps: How often all users, and then all items, are solved for.
        scale: As for `EvidenceChains`.
        random_state: A seed, a `numpy.random.RandomState`, or None for a new seed at each fit.

    Attributes:
        user_vectors_: Of users that were there at the fit.
        item_vectors_: Of items that were there at the fit.
    """

    @no_type_check
    def __init__(
        self,
        *,
        n_factors: int = 10,
        regularisation: float = 0.1,
        n_sweeps: int = 15,
        scale: Any = None,
        random_state: Any = None,
    ):
        self.n_factors = n_factors
        self.regularisation = regularisation
        self.n_sweeps = n_sweeps
        self.scale = scale
        self.random_state = random_state

    def fit(self, ratings: Any, y: Any = None) -> "BiasedMF":
        """Factorises what biases leave, as `EvidenceChains.fit` takes it."""
        check_integer("n_factors", self.n_factors, minimum=1)
        check_integer("n_sweeps", self.n_sweeps, minimum=1)
        check_positive("regularisation", self.regularisation)
        self._start(ratings, y, self.scale)
        store = self.ratings_
        sizes = len(store.users), len(store.items)
        self._forget()
        user_bias, item_bias = self._biases
        left = store.rating - self.mean_ - user_bias[store.user] - item_bias[store.item]
        matrix = csr_matrix((left, (store.user, store.item)), shape=sizes)
        rng = np.random.default_rng(seed_of(self.random_state))
        items = 0.1 * rng.standard_normal((sizes[1], self.n_factors))
        users = np.zeros((sizes[0], self.n_factors))
        turned = csr_matrix(matrix.T)
        for _ in range(self.n_sweeps):
            users = self._solve(matrix, items)
            items = self._solve(turned, users)
        self.user_vectors_, self.item_vectors_ = users, items
        return self

    def _solve(self, matrix: csr_matrix, others: Float[np.ndarray, "other d"]) -> Float[np.ndarray, "own d"]:
        """The vectors of rows, those of columns being given: a ridge regression each."""
        d = others.shape[1]
        there = csr_matrix((np.ones(matrix.nnz), matrix.indices, matrix.indptr), shape=matrix.shape)
        squares = (others[:, :, None] * others[:, None, :]).reshape(len(others), d * d)
        normal = np.asarray(there @ squares).reshape(-1, d, d)
        n = np.diff(matrix.indptr)
        normal += (self.regularisation * (n + 1))[:, None, None] * np.eye(d)
        return np.linalg.solve(normal, np.asarray(matrix @ others)[..., None])[..., 0]

    def _rate(
        self, users: Int[np.ndarray, " pair"], items: Int[np.ndarray, " pair"]
    ) -> Float[np.ndarray, " pair"]:
        """Those who came after the fit have their biases only."""
        u, v = _or_zero(self.user_vectors_, users), _or_zero(self.item_vectors_, items)
        return super()._rate(users, items) + (u * v).sum(1)

    def _rate_as_somebody(
        self,
        own: Int[np.ndarray, " rating"],
        ratings: Float[np.ndarray, " rating"],
        items: Int[np.ndarray, " item"],
    ) -> Float[np.ndarray, " item"]:
        left = ratings - self.mean_ - self._biases[1][own] - self._bias_of_somebody(own, ratings)
        had = own < len(self.item_vectors_)  # items that came after the fit have no vector
        row = csr_matrix((left[had], (np.zeros_like(own[had]), own[had])), shape=(1, len(self.item_vectors_)))
        vector = self._solve(row, self.item_vectors_)[0]
        return super()._rate_as_somebody(own, ratings, items) + _or_zero(self.item_vectors_, items) @ vector


def _or_zero(values: Float[np.ndarray, "node ..."], numbers: Int[np.ndarray, " number"]) -> np.ndarray:
    """Zero for a number below 0, or beyond those that there are."""
    is_there = (numbers >= 0) & (numbers < len(values))
    if not len(values):
        return np.zeros((len(numbers), *values.shape[1:]))
    found = values[np.where(is_there, numbers, 0)]
    return np.where(is_there.reshape(-1, *[1] * (values.ndim - 1)), found, 0.0)
