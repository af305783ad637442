"""Regression with error bars as a scikit-learn estimator."""

from pathlib import Path
from typing import Any, no_type_check

import numpy as np
import pandas as pd
from jaxtyping import Float
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_array, check_consistent_length, check_is_fitted

from backthrough.core import DataError, seed_of
from backthrough.natgrad import GammaNoise, Gaussian
from backthrough.regress.deciding import Decisions, is_constant
from backthrough.regress.features import Features, check_finite_cells, checked_rows, name_of
from backthrough.regress.network import check_settings, chosen_sizes, fit_network, outputs_in_chunks
from backthrough.regress.prediction import Numbers, TargetPrediction
from backthrough.regress.storage import load_estimator, save_estimator
from backthrough.train import Run


class BayesianRegressor(RegressorMixin, MultiOutputMixin, BaseEstimator):
    """Predicts numbers and says how sure it is, by a network with a distribution over its weights.

    Arrays must hold finite numbers. Frames may have columns of numbers, text, truth values and dates, and
    missing cells: `ColumnEncoder` turns them into numbers. Features and targets are standardised.

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
        features_: How rows become the numbers that the network sees.
        weights_: Arrays of the networks drawn: weight and bias of each layer, with a leading axis of draws.
        precision_: Precision of the noise under each draw, for standardised targets.
        centre_: Mean of each target.
        spread_: Standard deviation of each target.
        n_epochs_: Passes over the rows.
        batch_size_: Rows in a minibatch.
        n_features_in_: Columns.
        feature_names_in_: Their names, where `fit` was given a frame.
        target_name_: Of the targets, where they had one; "target" elsewhere.

    Examples:
        >>> import numpy as np
        >>> x = np.linspace(-1, 1, 40)[:, None]
        >>> model = BayesianRegressor(n_epochs=1, n_samples=3, random_state=0)
        >>> model.get_params()["hidden_sizes"]
        (50,)
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

    def fit(self, X: Any, y: Any, *, run: Run | None = None) -> "BayesianRegressor":
        """Finds a distribution over networks.

        Args:
            X: Features, a frame or an array of shape (row, column).
            y: Targets, finite numbers of shape (row,) or (row, output).
            run: A run directory for metrics and checkpoints; with one, training can be stopped and resumed.

        Returns:
            The estimator itself.

        Raises:
            ArgumentError: for a wrong setting.
            DataError: naming what of the columns or targets cannot be used.
            ValueError: scikit-learn's, for what is no table.
            DivergenceError: if a number becomes NaN or infinite in training.
        """
        check_settings(self)
        rows = checked_rows(self, X, reset=True)
        targets, is_vector = checked_targets(y, len(rows))
        seed = seed_of(self.random_state)
        features = Features.of(rows, self, self.categories)
        centre, spread = targets.mean(0), targets.std(0)
        n_outputs = targets.shape[1]
        n_epochs, batch_size = chosen_sizes(self, len(rows))
        weights, (precision,) = fit_network(
            features(rows),
            (targets - centre) / spread,
            Gaussian(GammaNoise(per_output=n_outputs > 1), n_outputs),
            self,
            seed=seed,
            run=run,
        )
        self.features_, self.weights_, self.precision_ = features, weights, precision
        self.centre_, self.spread_, self.is_vector_ = centre, spread, is_vector
        self.n_epochs_, self.batch_size_ = n_epochs, batch_size
        self.target_name_ = name_of(y)
        return self

    @property
    def decisions_(self) -> Decisions:
        """What was made of the columns of a frame; of an array's nothing."""
        check_is_fitted(self)
        return self.features_.decisions

    def predictive(self, X: Any) -> TargetPrediction:
        """What is predicted for each row: mean, both kinds of uncertainty, intervals, likelihood.

        Args:
            X: Rows of the columns that `fit` had.
        """
        check_is_fitted(self)
        x = self.features_(checked_rows(self, X, reset=False))
        means = np.empty((len(self.precision_), len(x), len(self.centre_)), np.float32)
        for rows, outputs in outputs_in_chunks(self.weights_, x):
            means[:, rows] = outputs[:, : rows.stop - rows.start]
        return TargetPrediction(means, self.precision_**-0.5, self.centre_, self.spread_, self.is_vector_)

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """The mean of each row, of the shape of the targets; with `return_std` the standard deviation too."""
        found = self.predictive(X)
        return (found.mean, found.std) if return_std else found.mean

    def predict_interval(self, X: Any, level: float = 0.9) -> tuple[Numbers, Numbers]:
        """The ends of the central interval that holds each target with a probability of `level`."""
        return self.predictive(X).interval(level)

    def sample(self, X: Any, n_samples: int = 1, random_state: Any = None) -> Numbers:
        """Targets drawn for each row, noise included, of shape (n_samples, row) or (n_samples, row, output).

        Args:
            X: Rows of the columns that `fit` had.
            n_samples: How many for each.
            random_state: As for the estimator, whose own is used by default.
        """
        seed = seed_of(self.random_state if random_state is None else random_state)
        return self.predictive(X).sample(n_samples, random_state=seed + 1)

    def log_prob(self, X: Any, y: Any) -> Float[np.ndarray, "row"]:
        """The log-density of each row's target in nats, in its units."""
        return self.predictive(X).log_prob(y)

    def save(self, path: str | Path) -> None:
        """Writes the fitted estimator to one file, which `BayesianRegressor.load` reads."""
        check_is_fitted(self)
        own = {"precision": self.precision_, "centre": self.centre_, "spread": self.spread_}
        save_estimator(self, path, own, is_vector=self.is_vector_)

    @classmethod
    def load(cls, path: str | Path) -> "BayesianRegressor":
        """Reads a fitted estimator that `save` wrote; it predicts the same, bit for bit.

        Raises:
            DataError: naming the file that cannot be read, is damaged, or holds something else.
        """
        model, settings, arrays = load_estimator(cls, path)
        model.precision_, model.is_vector_ = arrays["precision"], settings["is_vector"]
        model.centre_, model.spread_ = arrays["centre"], arrays["spread"]
        return model


def checked_targets(y: Any, n_rows: int) -> tuple[Float[np.ndarray, "row output"], bool]:
    """Targets as a matrix, and whether they were a vector.

    Raises:
        DataError: naming the row of one that is not finite, or a target that is the same in every row.
        ValueError: scikit-learn's, for what is no matrix of numbers, or of another length.
    """
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None")
    names = list(map(str, y.columns)) if isinstance(y, pd.DataFrame) else None
    front_door: Any = check_array  # scikit-learn annotates its defaults only
    checked = front_door(y, ensure_2d=False, ensure_all_finite=False, dtype=np.float64, input_name="y")
    is_vector = checked.ndim == 1
    targets = checked[:, None] if is_vector else checked
    names = names or [
        getattr(y, "name", None) or "y" if is_vector else index for index in range(targets.shape[1])
    ]
    check_finite_cells(targets, names, "target")
    check_consistent_length(np.empty((n_rows, 1)), targets)
    if n_rows < 2:
        raise DataError("there is only 1 sample: to fit takes 2 rows at the least")
    same = is_constant(targets)
    if same.any():
        which = names[int(np.argmax(same))]
        raise DataError(f"target {which!r} has the same value in every row: there is nothing to predict")
    with np.errstate(over="ignore"):
        spread = targets.std(0)
    if not (np.isfinite(spread) & (spread > 0)).all():
        raise DataError("the targets are too large or too small to be squared; give them in other units")
    return targets, is_vector
