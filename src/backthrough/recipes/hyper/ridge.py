"""A linear model of pictures with penalties of its weights, whose best response is known exactly."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.linalg import cho_factor, cho_solve

from backthrough.core import ArgumentError, Scalar
from backthrough.datasets import load

N_CLASSES = 10


@dataclass(frozen=True, eq=False)
class Split:
    """Pictures as rows, with a 1 behind them for the bias.

    Attributes:
        x: In [0, 1].
        y: One-hot labels.
    """

    x: Float[np.ndarray, "row feature"]
    y: Float[np.ndarray, "row class"]

    def loss(self, w: Float[Array, "feature class"]) -> Scalar:
        """Mean squared error over rows and classes."""
        return jnp.mean(jnp.square(jnp.asarray(self.x, w.dtype) @ w - jnp.asarray(self.y, w.dtype)))

    def accuracy(self, w: Any) -> float:
        """The part of rows whose largest output is that of their class."""
        return float(np.mean((self.x @ np.asarray(w)).argmax(1) == self.y.argmax(1)))

    def measured(self, w: Any) -> float:
        """The loss, in double precision."""
        return float(np.mean(np.square(self.x @ np.asarray(w, np.float64) - self.y)))


@dataclass(frozen=True, eq=False)
class Ridge:
    """L_T(w, lambda) = mean squared error + sum of lambda w^2; L_V is the error alone.

    Attributes:
        train: What weights are fitted to.
        valid: What hyperparameters are fitted to.
        test: What neither sees.
    """

    train: Split
    valid: Split
    test: Split

    @property
    def shape(self) -> tuple[int, int]:
        """Features, the bias included, and classes."""
        return self.train.x.shape[1], self.train.y.shape[1]

    def initial(self) -> Float[Array, "feature class"]:
        """Weights of 0."""
        return jnp.zeros(self.shape)

    def train_loss(self, w: Float[Array, "feature class"], hyper: Any) -> Scalar:
        """L_T, `hyper["decay"]` a number or what broadcasts with the weights."""
        return self.train.loss(w) + jnp.sum(hyper["decay"] * jnp.square(w))

    def refit(self, decay: Any) -> Float[np.ndarray, "feature class"]:
        """w*(lambda), exactly, in double precision."""
        decay = np.broadcast_to(np.asarray(decay, np.float64), self.shape)
        x, y = self.train.x.astype(np.float64), self.train.y.astype(np.float64)
        gram, moment = x.T @ x / y.size, x.T @ y / y.size
        columns = [
            cho_solve(cho_factor(gram + np.diag(own)), right)
            for own, right in zip(decay.T, moment.T, strict=True)
        ]
        return np.stack(columns, axis=1)


def digits(n_train: int = 100) -> Ridge:
    """scikit-learn's 8 x 8 digits: 100 rows for training, 600 for validation, 597 for the test.

    The division is that of the stored exact answers (`hypernet-oracles`).

    Raises:
        ArgumentError: for more than the 600 rows that are neither for validation nor for the test.
    """
    from sklearn.datasets import load_digits

    if not 1 <= n_train <= 600:
        raise ArgumentError(f"n_train must lie in [1, 600], got {n_train}")
    data: Any = load_digits()
    order = np.random.RandomState(0).permutation(len(data.target))
    parts = order[:n_train], order[600:1200], order[1200:]
    return Ridge(*(_split(data.data[rows] / 16, data.target[rows]) for rows in parts))


def mnist(n_train: int = 1000, *, name: str = "mnist", n_valid: int = 10_000) -> Ridge:
    """MNIST: the first training images, the last ones for validation, and the official test images.

    Raises:
        ArgumentError: if there are not so many training images.
        DataError: if the data are not at hand.
    """
    data = load(name)
    n = len(data.train_labels)
    if n_train + n_valid > n:
        raise ArgumentError(
            f"{name} has {n:,} training images: {n_train:,} for training and {n_valid:,} for "
            "validation are more"
        )
    parts = (
        (data.train_images[:n_train], data.train_labels[:n_train]),
        (data.train_images[n - n_valid :], data.train_labels[n - n_valid :]),
        (data.test_images, data.test_labels),
    )
    return Ridge(*(_split(x.reshape(len(x), -1) / 255, y) for x, y in parts))


def _split(x: Float[np.ndarray, "row feature"], labels: Int[np.ndarray, " row"]) -> Split:
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1).astype(np.float32)
    return Split(x, np.eye(N_CLASSES, dtype=np.float32)[labels])
