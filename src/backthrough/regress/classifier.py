"""Classification that knows what it does not know, as a scikit-learn estimator."""

from pathlib import Path
from typing import Any, no_type_check

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d

from backthrough.core import DataError, log_mean_exp, seed_of
from backthrough.natgrad import Categorical, ClassPredictive
from backthrough.regress.deciding import Decisions
from backthrough.regress.features import Features, checked_rows, name_of
from backthrough.regress.network import check_settings, chosen_sizes, fit_network, outputs_in_chunks
from backthrough.regress.prediction import ClassPrediction
from backthrough.regress.storage import load_estimator, save_estimator
from backthrough.train import Run


class BayesianClassifier(ClassifierMixin, BaseEstimator):
    """Predicts classes and says how sure it is, by a network with a distribution over its weights.

    Rows, settings and methods are those of `BayesianRegressor`.

    Args:
        method: A name of `METHODS`, or a method of `backthrough.natgrad`.
        hidden_sizes: Widths of the hidden layers.
        prior_var: Variance of the weights' Gaussian prior around 0.
        kl_weight: Weight of the KL divergence from the prior; 1 for the ELBO.
        n_epochs: Passes over the rows; by default as many as make 20,000 steps, at most 1,000 and at least
            10.
        batch_size: Rows in a minibatch; by default a 50th of the rows, at least 10 and at most 100; of many
            rows a 500th, at most 512.
        learning_rate: Of a method by name; by default its own.
        n_samples: Networks that are drawn when it is fitted, and kept; all predictions are made by these.
        categories: Columns of a frame that are categories although they may look like numbers.
        random_state: A seed, a `numpy.random.RandomState`, or None for a new seed at each fit.

    Attributes:
        classes_: The classes, in the order of the columns of `predict_proba`.
        features_: How rows become the numbers that the network sees.
        weights_: Arrays of the networks drawn: weight and bias of each layer, with a leading axis of draws.
        n_epochs_: Passes over the rows.
        batch_size_: Rows in a minibatch.
        n_features_in_: Columns.
        feature_names_in_: Their names, where `fit` was given a frame.
        target_name_: Of the targets, where they had one; "target" elsewhere.
    """

    n_features_in_: int
    feature_names_in_: np.ndarray

    @no_type_check  # as scikit-learn has it, fit checks the settings
    def __init__(
        self,
        method: Any = "noisy-kfac",
        *,
        hidden_sizes: Any = (50,),
        prior_var: float = 1.0,
        kl_weight: float = 1.0,
        n_epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        n_samples: int = 100,
        categories: Any = (),
        random_state: Any = None,
    ):
        self.method = method
        self.hidden_sizes = hidden_sizes
        self.prior_var = prior_var
        self.kl_weight = kl_weight
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.n_samples = n_samples
        self.categories = categories
        self.random_state = random_state

    def fit(self, X: Any, y: Any, *, run: Run | None = None) -> "BayesianClassifier":
        """Finds a distribution over networks.

        Args:
            X: Features, a frame or an array of shape (row, column).
            y: A class for each row: text, whole numbers or truth values, two different ones at the least.
            run: A run directory for metrics and checkpoints; with one, training can be stopped and resumed.

        Returns:
            The estimator itself.

        Raises:
            ArgumentError: for a wrong setting.
            DataError: naming what of the columns or classes cannot be used.
            ValueError: scikit-learn's, for what is no table, or for targets that are no classes.
            DivergenceError: if a number becomes NaN or infinite in training.
        """
        check_settings(self)
        rows = checked_rows(self, X, reset=True)
        classes, places = checked_classes(y, len(rows))
        seed = seed_of(self.random_state)
        features = Features.of(rows, self, self.categories)
        n_epochs, batch_size = chosen_sizes(self, len(rows))
        likelihood = Categorical(len(classes))
        weights, _ = fit_network(features(rows), places, likelihood, self, seed=seed, run=run)
        self.features_, self.weights_, self.classes_ = features, weights, classes
        self.n_epochs_, self.batch_size_ = n_epochs, batch_size
        self.target_name_ = name_of(y)
        return self

    @property
    def decisions_(self) -> Decisions:
        """What was made of the columns of a frame; of an array's nothing."""
        check_is_fitted(self)
        return self.features_.decisions

    def predictive(self, X: Any) -> ClassPrediction:
        """What is predicted for each row: probabilities, and both kinds of uncertainty.

        Args:
            X: Rows of the columns that `fit` had.
        """
        check_is_fitted(self)
        x = self.features_(checked_rows(self, X, reset=False))
        log_probabilities, aleatoric = np.empty((len(x), len(self.classes_))), np.empty(len(x))
        for rows, outputs in outputs_in_chunks(self.weights_, x):
            n_rows, (mean, entropy) = rows.stop - rows.start, _mixed(outputs)
            log_probabilities[rows], aleatoric[rows] = mean[:n_rows], entropy[:n_rows]
        return ClassPrediction(self.classes_, log_probabilities, aleatoric)

    def predict_proba(self, X: Any) -> Float[np.ndarray, "row class"]:
        """The probability of each class."""
        return self.predictive(X).probabilities

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each row."""
        found = self.predictive(X)
        return found.classes[found.log_probabilities.argmax(1)]

    def log_prob(self, X: Any, y: Any) -> Float[np.ndarray, "row"]:
        """The log-probability of each row's class, nats."""
        return self.predictive(X).log_prob(y)

    def save(self, path: str | Path) -> None:
        """Writes the fitted estimator to one file, which `BayesianClassifier.load` reads."""
        check_is_fitted(self)
        kind = self.classes_.dtype.kind
        plain = self.classes_.astype(str) if kind == "O" else self.classes_
        save_estimator(self, path, {"classes": plain}, are_objects=kind == "O")

    @classmethod
    def load(cls, path: str | Path) -> "BayesianClassifier":
        """Reads a fitted estimator that `save` wrote; it predicts the same, bit for bit.

        Raises:
            DataError: naming the file that cannot be read, is damaged, or holds something else.
        """
        model, settings, arrays = load_estimator(cls, path)
        classes = arrays["classes"]
        model.classes_ = classes.astype(object) if settings["are_objects"] else classes
        return model


def checked_classes(y: Any, n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """The classes, and the place of each row's among them.

    Raises:
        DataError: naming the row of one that is missing, or if there are fewer than two.
        ValueError: scikit-learn's, for targets that are no classes, or of another length.
    """
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None")
    labels = column_or_1d(y, warn=True)
    missing = pd.isna(labels)
    if missing.any():
        raise DataError(f"the class of row {int(np.argmax(missing))} is missing (NaN)")
    if labels.dtype.kind == "f" and np.isinf(labels).any():
        raise DataError(f"the class of row {int(np.argmax(np.isinf(labels)))} is infinity (inf)")
    check_classification_targets(labels)
    check_consistent_length(np.empty((n_rows, 1)), labels)
    classes, places = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise DataError(f"there is only one class, {classes.tolist()[0]!r}: there is nothing to tell apart")
    return classes, places


@eqx.filter_jit
def _mixed(outputs: Float[Array, "draw row class"]) -> tuple[Array, Array]:
    """The log of the mean probabilities, and the mean entropy of the draws."""
    likelihood = Categorical(outputs.shape[-1])
    found: ClassPredictive = likelihood.predictive(outputs, ())
    return log_mean_exp(found.log_probabilities, axis=0), jnp.asarray(found.aleatoric)
