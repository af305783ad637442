"""Rows as a user has them, as the standardised numbers that a network sees."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from backthrough.core import DataError
from backthrough.regress.columns import ColumnEncoder
from backthrough.regress.deciding import Decisions, is_constant

FARTHEST = 1e15  # standard deviations: squares of more overflow in single precision

Rows = pd.DataFrame | Float[np.ndarray, "row column"]


@dataclass(frozen=True)
class Features:
    """How rows become standardised numbers.

    Attributes:
        encoder: What is made of the columns of a frame; None where `fit` was given an array.
        mean: Of each column of numbers in training.
        scale: Standard deviation of each; 1 for one of zeros and ones, which is centred only; 0 for one that
            is constant, which tells nothing.
    """

    encoder: ColumnEncoder | None
    mean: Float[np.ndarray, "feature"]
    scale: Float[np.ndarray, "feature"]

    @classmethod
    def of(cls, rows: Rows, estimator: Any, categories: Any) -> "Features":
        """Decides by the rows of training; a warning names constant columns of an array."""
        own = ColumnEncoder(categories=categories).fit(rows) if isinstance(rows, pd.DataFrame) else None
        with np.errstate(over="ignore"):  # named below
            numbers = np.asarray(rows) if own is None else own.transform(pd.DataFrame(rows))
            mean, scale = numbers.mean(0), numbers.std(0)
        names = _names(estimator, rows) if own is None else list(own.decisions.outputs)
        for name, spread in zip(names, scale, strict=True):
            if not np.isfinite(spread):
                raise DataError(f"column {name!r} is too large to be squared; give it in other units")
        same = is_constant(numbers) | (scale == 0)
        if same.any():
            which = ", ".join(repr(name) for name, own in zip(names, same, strict=True) if own)
            warnings.warn(f"constant in every row, and so of no use: column {which}", stacklevel=3)
        flags = ((numbers == 0) | (numbers == 1)).all(
            axis=0
        )  # a rare one would lie far out if it were scaled
        return cls(own, mean, np.where(same, 0.0, np.where(flags, 1.0, scale)))

    def numbers(self, rows: Rows) -> Float[np.ndarray, "row feature"]:
        """The columns as numbers in their own units."""
        if self.encoder is None:
            return np.asarray(rows, np.float64)
        names = [column.name for column in self.encoder.decisions.columns]
        return self.encoder.transform(
            rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(rows, columns=names)
        )

    def __call__(self, rows: Rows) -> Float[np.ndarray, "row feature"]:
        """The numbers standardised; constant columns are 0."""
        useful = self.scale > 0
        found = np.where(useful, (self.numbers(rows) - self.mean) / np.where(useful, self.scale, 1.0), 0.0)
        far = np.abs(found) > FARTHEST
        if far.any():
            row, column = np.argwhere(far)[0]
            raise DataError(
                f"row {row} lies {abs(found[row, column]):.0e} standard deviations from the mean of training "
                f"in number {column} of its columns: nothing can be said so far out (at most {FARTHEST:.0e})"
            )
        return found

    @property
    def decisions(self) -> Decisions:
        """What is made of the columns of a frame; of an array's nothing."""
        return Decisions(()) if self.encoder is None else self.encoder.decisions

    def settings(self) -> dict[str, Any]:
        """What `load` needs beside the arrays, as JSON values."""
        return {"encoder": None if self.encoder is None else self.encoder.settings()}

    def arrays(self) -> dict[str, np.ndarray]:
        """Its arrays by name."""
        return {"feature mean": self.mean, "feature scale": self.scale}

    @classmethod
    def load(cls, settings: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> "Features":
        """What `settings` and `arrays` were taken from."""
        encoder = settings["encoder"]
        return cls(
            None if encoder is None else ColumnEncoder.from_settings(encoder),
            arrays["feature mean"],
            arrays["feature scale"],
        )


def checked_rows(estimator: BaseEstimator, X: Any, *, reset: bool) -> Rows:
    """A frame as it is, or an array of finite numbers.

    Args:
        estimator: Whose `n_features_in_` and `feature_names_in_` the rows must agree with, or set.
        X: What the user gave.
        reset: Whether these are the rows to fit to.

    Raises:
        DataError: naming row and column of what is not finite.
        ValueError: scikit-learn's, for what is no table or has other columns than in training.
    """
    is_frame = isinstance(X, pd.DataFrame)
    table: Any = X
    if is_frame and (reset or getattr(estimator, "feature_names_in_", None) is not None):
        frame: Any = table.rename(columns=str)
        validate_data(estimator, frame, reset=reset, skip_check_array=True)
        if len(frame) == 0:
            raise DataError("there are 0 rows (0 samples); a minimum of 1 is required")
        return frame
    rows = np.asarray(validate_data(estimator, table, reset=reset, dtype=np.float64, ensure_all_finite=False))
    check_finite_cells(rows, _names(estimator, rows), "column")
    return rows


def _names(estimator: BaseEstimator, rows: Any) -> list[Any]:
    return list(getattr(estimator, "feature_names_in_", range(rows.shape[1])))


def name_of(y: Any) -> str:
    """The name of targets, "target" where they have none."""
    name = getattr(y, "name", None)
    return "target" if name is None else str(name)


def check_finite_cells(rows: Float[np.ndarray, "row column"], names: Any, what: str) -> None:
    """Refuses numbers that are not finite.

    Raises:
        DataError: naming row and column.
    """
    bad = ~np.isfinite(rows)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        value = "NaN" if np.isnan(rows[row, column]) else "infinite (inf)"
        cure = "" if what != "column" else "; in a frame, blank cells are filled by a decision that is named"
        raise DataError(f"{what} {list(names)[column]!r} of row {row} is {value}; it must be finite{cure}")
