"""The known factors of a data set: a class of each example for each of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from backthrough.core import ArgumentError, DataError, check_integer


@dataclass(frozen=True, eq=False)
class Factors:
    """Discrete factors.

    Attributes:
        labels: Class of each example, from 0, shape (example, factor).
        names: Of the factors.
        values: Of the classes of each factor, in their order.
    """

    labels: Int[np.ndarray, "example factor"]
    names: tuple[str, ...]
    values: tuple[np.ndarray, ...]

    def probabilities(self, weights: Float[np.ndarray, " example"]) -> list[np.ndarray]:
        """p(v) of each factor, if examples have these probabilities."""
        columns = zip(self.labels.T, self.values, strict=True)
        return [np.bincount(column, weights, len(values)) for column, values in columns]


def read_factors(
    factors: Any, *, names: Sequence[str] | None = None, bins: Mapping[str, int] | None = None
) -> Factors:
    """Factors from a user's own arrays.

    Args:
        factors: Shape (example, factor), or (example,) for one: an array, a pandas table, or a mapping of
            names to columns. Columns hold whole numbers, words or truth values, or numbers that repeat.
        names: Of the columns of an array, "factor 0" and so on by default; a table has names of its own.
        bins: Names of continuous factors, and the number of bins, equally full, that each is cut into.

    Raises:
        ArgumentError: for names that do not fit, or bins of a factor that there is not.
        DataError: naming the factor that is missing values, has only one, or so many that nothing repeats.
    """
    columns = _columns(factors, names)
    if bins is not None and not isinstance(bins, Mapping):
        raise ArgumentError(f"bins must map names of factors to numbers of bins, got {bins!r}")
    bins = dict(bins or {})
    unknown = sorted(set(bins) - set(columns))
    if unknown:
        raise ArgumentError(f"bins names {', '.join(unknown)}, and the factors are {', '.join(columns)}")
    labels, values = [], []
    for name, column in columns.items():
        found, own = _classes(name, column, bins.get(name))
        labels.append(own)
        values.append(found)
    return Factors(np.stack(labels, axis=1), tuple(columns), tuple(values))


def _columns(factors: Any, names: Sequence[str] | None) -> dict[str, np.ndarray]:
    if isinstance(factors, pd.Series):
        factors = factors.to_frame()
    fields = getattr(getattr(factors, "dtype", None), "names", None)  # of a structured array
    if fields or isinstance(factors, pd.DataFrame | Mapping):
        if names is not None:
            raise ArgumentError("names are for arrays; these factors have names already")
        own = {str(name): _column(factors[name]) for name in fields or factors}
        if len(own) < len(fields or list(factors)):
            raise ArgumentError("two factors have the same name")
    else:
        try:
            array = _column(factors)
        except ValueError as error:
            raise ArgumentError(f"factors must be an array, and rows differ in length: {error}") from None
        array = array[:, None] if array.ndim == 1 else array
        if array.ndim != 2 or 0 in array.shape:
            raise ArgumentError(f"factors must have shape (example, factor), got {array.shape}")
        own = {f"factor {index}": column for index, column in enumerate(array.T)}
    if not own:
        raise ArgumentError("there are no factors")
    if names is not None:
        if isinstance(names, str) or len(names) != len(own) or len(set(names)) != len(own):
            raise ArgumentError(
                f"names must be {len(own)} different names, one for each factor, got {names!r}"
            )
        own = dict(zip(map(str, names), own.values(), strict=True))
    lengths = {name: column.shape for name, column in own.items()}
    if len(set(lengths.values())) > 1 or any(len(shape) != 1 or 0 in shape for shape in lengths.values()):
        raise ArgumentError(f"factors need as many examples each, along one axis, got {lengths}")
    return own


def _column(values: Any) -> np.ndarray:
    """An array in which what is masked is missing."""
    if np.ma.is_masked(values):
        return np.where(np.ma.getmaskarray(values), np.nan, np.ma.getdata(values).astype(object))
    return np.asarray(values)


def _classes(name: str, column: np.ndarray, n_bins: int | None) -> tuple[np.ndarray, np.ndarray]:
    """The values that occur, sorted, and the index of each entry's."""
    missing = pd.isna(column)
    if missing.any():
        raise DataError(f"factor {name!r} has no value at example {int(np.argmax(missing))}")
    if n_bins is not None:
        n_bins = check_integer(f"bins of {name!r}", n_bins, minimum=2)
        if 2 * n_bins > len(column):
            raise ArgumentError(
                f"bins of {name!r} must be at most {len(column) // 2}, half of the rows, got {n_bins}"
            )
        column = _binned(name, column, n_bins)
    try:
        values, labels = np.unique(column, return_inverse=True)
    except TypeError:  # values of different types have no order
        labels, found = pd.factorize(column)
        values = np.asarray(found)
    if len(values) == 1:
        raise DataError(f"factor {name!r} has the same value, {values[0]}, in every row: leave it out")
    if 2 * len(values) > len(column):
        raise DataError(
            f"factor {name!r} has {len(values):,} values in {len(column):,} rows, too few rows for each: if "
            f"it is continuous, cut it into bins (bins={{{name!r}: 20}}, or --bins {name}=20 on the command "
            "line), or leave it out"
        )
    return values, labels.reshape(-1).astype(np.int64)


def _binned(name: str, column: np.ndarray, n_bins: int) -> np.ndarray:
    """The index of the bin of each entry, bins being equally full as far as values that repeat allow."""
    try:
        numbers = column.astype(np.float64)
    except (TypeError, ValueError):
        raise DataError(f"factor {name!r} holds no numbers, and bins are cut from numbers") from None
    if not np.isfinite(numbers).all():
        raise DataError(f"factor {name!r} is not finite at example {int(np.argmax(~np.isfinite(numbers)))}")
    edges = np.quantile(numbers, np.arange(1, n_bins) / n_bins)
    # A value that fills a bin, or is the smallest, is cut off from those above it too.
    full = np.concatenate([edges[1:][edges[1:] == edges[:-1]], edges[edges == numbers.min()]])
    edges = np.unique(np.concatenate([edges, np.nextafter(full, np.inf)]))
    return np.searchsorted(edges, numbers, side="right")
