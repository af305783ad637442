"""The density of a table's rows as a scikit-learn estimator."""

from pathlib import Path
from typing import Any, NamedTuple, no_type_check

import jax
import numpy as np
import pandas as pd
from jaxtyping import Float
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from backthrough.core import ArgumentError, DataError, check_integer, check_positive, seed_of
from backthrough.density.training import (
    draw_rows,
    log_density,
    make_field,
    solver_error,
    train_field,
)
from backthrough.flows import GatedMLP
from backthrough.train import Run, arrays_of, load_model, save_model, with_arrays

FARTHEST = 1e15  # standard deviations: squares of more overflow in single precision

Values = Float[np.ndarray, "_ column"]


class Parts(NamedTuple):
    """Rows in a random order: 80 % to train, 10 % to validate, 10 % to test."""

    train: Any
    valid: Any
    test: Any


def split_rows(rows: Any, *, seed: int) -> Parts:
    """The parts of a frame or array.

    Raises:
        DataError: if there are fewer than 30 rows.
    """
    if len(rows) < 30:
        raise DataError(f"there are {len(rows)} rows; to fit and to measure a density takes 30 at the least")
    order = np.random.default_rng(seed).permutation(len(rows))
    shuffled = rows.iloc[order] if isinstance(rows, pd.DataFrame) else rows[order]
    n_held = len(rows) // 10
    return Parts(shuffled[2 * n_held :], shuffled[n_held : 2 * n_held], shuffled[:n_held])


class FlowDensity(DensityMixin, BaseEstimator):
    """The density of rows of numbers, by a continuous normalising flow (Chen et al. 2018, section 4).

    Frames and arrays are taken alike; what comes out has the form of what went in.

    Args:
        hidden_size: Width of the three hidden layers of the vector field.
        n_steps: At most so many steps of Adam.
        batch_size: Rows in a batch, at most.
        learning_rate: The largest; it falls along half a cosine.
        patience: Evaluations on the validation rows without a better one after which training stops.
        validation_fraction: Part of the rows that is kept to stop early by, if `fit` is given none.
        solver_steps: Runge-Kutta steps of the solve in training.
        tolerance: Of the adaptive solver that measures and draws.
        random_state: A seed, a `numpy.random.RandomState`, or None for a new seed at each fit.

    Attributes:
        mean_: Of each column of the training rows.
        scale_: Standard deviation of each column of the training rows.
        weights_: Arrays of the vector field.
        n_features_in_: Columns.
        feature_names_in_: Their names, where `fit` was given a frame.

    Examples:
        >>> import numpy as np
        >>> rows = np.random.default_rng(0).normal(size=(100, 2))
        >>> model = FlowDensity(n_steps=3, hidden_size=4, random_state=0).fit(rows)
        >>> model.score_samples(rows[:3]).shape, model.sample(5).shape
        ((3,), (5, 2))
    """

    n_features_in_: int
    feature_names_in_: np.ndarray

    @no_type_check  # as scikit-learn has it, fit checks the settings
    def __init__(
        self,
        *,
        hidden_size: int = 64,
        n_steps: int = 2000,
        batch_size: int = 256,
        learning_rate: float = 3e-3,
        patience: int = 8,
        validation_fraction: float = 0.1,
        solver_steps: int = 5,
        tolerance: float = 1e-4,
        random_state: Any = None,
    ):
        self.hidden_size = hidden_size
        self.n_steps = n_steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.solver_steps = solver_steps
        self.tolerance = tolerance
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, validation: Any = None, run: Run | None = None) -> "FlowDensity":
        """Fits the density to rows.

        Args:
            X: Rows of finite numbers, a frame or an array of shape (row, column).
            y: Ignored, as scikit-learn has it.
            validation: Rows to stop early by; a part of `X` by default.
            run: A run directory for metrics and checkpoints; with one, training can be stopped and resumed.

        Returns:
            The estimator itself.

        Raises:
            ArgumentError: for a wrong setting.
            DataError: if a column has one value only.
            ValueError: scikit-learn's, for what is no table of finite numbers.
        """
        self._check_settings()
        rows = self._validated(X, ensure_min_samples=2)
        seed = seed_of(self.random_state)
        if validation is None:
            order = np.random.default_rng(seed).permutation(len(rows))
            n_valid = min(max(1, round(self.validation_fraction * len(rows))), len(rows) - 1)
            rows, valid = rows[order[n_valid:]], rows[order[:n_valid]]
        else:
            valid = self._validated(validation, reset=False)
        with np.errstate(over="ignore"):  # named below
            mean, scale = rows.mean(0), rows.std(0)
        self._check_spread(scale)
        field = train_field(
            (rows - mean) / scale,
            (valid - mean) / scale,
            key=jax.random.key(seed),
            hidden_size=self.hidden_size,
            n_steps=self.n_steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            patience=self.patience,
            solver_steps=self.solver_steps,
            batch_seed=seed,
            run=run,
        )
        self.mean_, self.scale_ = mean, scale
        self.weights_ = arrays_of(field)
        return self

    def score_samples(self, X: Any) -> Any:
        """The log-density of each row in nats, in the units of the table.

        Args:
            X: Rows of as many columns as `fit` had.

        Returns:
            An array of shape (row,); for a frame a series with its index.
        """
        check_is_fitted(self)
        rows = self._validated(X, reset=False)
        standardised = self._standardised(rows)
        far = np.abs(standardised).max(axis=1) > FARTHEST
        if far.any():
            row = int(np.argmax(far))
            raise DataError(
                f"row {row} is {np.abs(standardised[row]).max():.0e} standard deviations from the mean: a "
                f"density so far out cannot be computed (at most {FARTHEST:.0e})"
            )
        found = log_density(self._field(), standardised, tolerance=self.tolerance)
        found = found - np.log(self.scale_).sum()
        return pd.Series(found, X.index, name="log density (nats)") if isinstance(X, pd.DataFrame) else found

    def score(self, X: Any, y: Any = None) -> float:  # type: ignore[override]
        """The mean log-density of rows in nats; greater is better."""
        return float(np.mean(self.score_samples(X)))

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Any:
        """Draws from the density.

        Args:
            n_samples: How many.
            random_state: As for the estimator, whose own is used by default.

        Returns:
            An array of shape (n_samples, column), or a frame if `fit` was given one.
        """
        check_is_fitted(self)
        n_samples = check_integer("n_samples", n_samples, minimum=1)
        seed = seed_of(self.random_state if random_state is None else random_state)
        key = jax.random.key(seed + 1)
        draws = draw_rows(self._field(), n_samples, len(self.mean_), key=key, tolerance=self.tolerance)
        draws = self.mean_ + self.scale_ * draws
        names = getattr(self, "feature_names_in_", None)
        return draws if names is None else pd.DataFrame(draws, columns=list(names))

    def solver_error(self, X: Any) -> Float[np.ndarray, "row"]:
        """What training's fixed steps are off by, for each row in nats; if much, raise `solver_steps`."""
        check_is_fitted(self)
        rows = self._standardised(self._validated(X, reset=False))
        return solver_error(self._field(), rows, solver_steps=self.solver_steps, tolerance=self.tolerance)

    def save(self, path: str | Path) -> None:
        """Writes the fitted estimator to one file, which `FlowDensity.load` reads."""
        check_is_fitted(self)
        settings = self.get_params()
        if not isinstance(settings["random_state"], int):
            settings["random_state"] = None
        names = getattr(self, "feature_names_in_", None)
        arrays = {f"weight {index}": array for index, array in enumerate(self.weights_)}
        save_model(
            path,
            "FlowDensity",
            settings={"parameters": settings, "columns": None if names is None else list(names)},
            arrays={"mean": self.mean_, "scale": self.scale_, **arrays},
        )

    @classmethod
    def load(cls, path: str | Path) -> "FlowDensity":
        """Reads a fitted estimator that `save` wrote.

        Raises:
            DataError: naming the file that cannot be read, is damaged, or holds something else.
        """
        settings, arrays = load_model(path, "FlowDensity")
        model = cls(**settings["parameters"])
        model.mean_, model.scale_ = arrays.pop("mean"), arrays.pop("scale")
        model.weights_ = [arrays[f"weight {index}"] for index in range(len(arrays))]
        model.n_features_in_ = len(model.mean_)
        if settings["columns"] is not None:
            model.feature_names_in_ = np.array(settings["columns"], dtype=object)
        return model

    def _field(self) -> GatedMLP:
        """The vector field with the fitted weights."""
        return with_arrays(lambda key: make_field(len(self.mean_), self.hidden_size, key=key), self.weights_)

    def _validated(self, X: Any, **checks: Any) -> Values:
        return np.asarray(validate_data(self, X, dtype=np.float64, **checks))

    def _standardised(self, rows: Values) -> Values:
        return (rows - self.mean_) / self.scale_

    def _check_settings(self) -> None:
        for name in ("hidden_size", "n_steps", "batch_size", "patience", "solver_steps"):
            check_integer(name, getattr(self, name), minimum=1)
        for name in ("learning_rate", "tolerance"):
            check_positive(name, getattr(self, name))
        if not 0 < self.validation_fraction < 1:
            raise ArgumentError(
                f"validation_fraction must lie between 0 and 1, got {self.validation_fraction!r}"
            )

    def _check_spread(self, scale: Float[np.ndarray, "column"]) -> None:
        names = getattr(self, "feature_names_in_", range(len(scale)))
        for name, spread in zip(names, scale, strict=True):
            if not np.isfinite(spread):
                raise DataError(f"column {name!r} is too large to be squared; give it in other units")
            if spread == 0:
                raise DataError(
                    f"column {name!r} has the same value in every row that is trained on, or values too "
                    "small to be squared; leave it out, or give it in other units"
                )
