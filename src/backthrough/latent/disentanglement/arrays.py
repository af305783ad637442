"""What metrics of encoder means and factor labels share: checks, scales, a split, shapes of results."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Integer

from backthrough.core import ArgumentError, DataError, check_finite


class FactorScores(NamedTuple):
    """A score for each factor, and their mean."""

    per_factor: Float[np.ndarray, "factor"]
    mean: float


class LatentScores(NamedTuple):
    """A score for each latent, and their mean."""

    per_latent: Float[np.ndarray, "latent"]
    mean: float


def host_numbers(name: str, values: Any) -> Float[np.ndarray, "..."]:
    """A copy of numbers on the host, in double precision.

    Raises:
        ArgumentError: if lists in them have different lengths.
        DataError: if they are no real numbers, masked, or not finite.
    """
    if np.ma.is_masked(values):
        raise DataError(f"{name} has masked entries: fill them, or drop these examples")
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ArgumentError(f"{name} must be an array, and rows differ in length: {error}") from None
    if array.dtype.kind == "O":  # such as a table of several types
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError):
            raise DataError(f"{name} must be numbers, got an array of {array.dtype}") from None
    if array.dtype.kind not in "fiub" and "float" not in array.dtype.name:  # bfloat16 is of kind V
        raise DataError(f"{name} must be real numbers, got an array of {array.dtype}")
    return check_finite(name, array.astype(np.float64))


def check_same_index(name: str, one: Any, other_name: str, other: Any) -> None:
    """Refuses two tables whose rows have different labels: arrays go by place.

    Raises:
        ArgumentError: naming both, and the first row that differs.
    """
    ours, theirs = (getattr(table, "index", None) for table in (one, other))
    if not isinstance(ours, pd.Index) or not isinstance(theirs, pd.Index) or ours.equals(theirs):
        return
    if len(ours) != len(theirs):
        return  # which has a message of its own
    row = int(np.argmax(np.asarray(ours != theirs)))
    raise ArgumentError(
        f"{name} and {other_name} are tables whose row {row} is called {ours[row]!r} and {theirs[row]!r}: "
        f"bring them into one order ({other_name}.loc[{name}.index]), or pass arrays if they have it"
    )


def check_labels(labels: Any) -> Int[np.ndarray, "n factor"]:
    """Class indices as 64-bit integers.

    Raises:
        ArgumentError: if they are not a matrix of whole numbers.
        DataError: if an index is negative, or a factor has one value.
    """
    labels = np.asarray(labels)
    if labels.ndim != 2 or labels.shape[1] == 0 or not np.issubdtype(labels.dtype, np.integer):
        raise ArgumentError(
            f"labels must be class indices, whole numbers of shape (n, factor), got {labels.dtype} of shape "
            f"{labels.shape}"
        )
    if len(labels) == 0:
        raise DataError("labels has no rows")
    if labels.min() < 0:
        entry = tuple(int(i) for i in np.argwhere(labels < 0)[0])
        raise DataError(f"labels must be class indices from 0, but entry {entry} is {labels[entry]}")
    constant = np.flatnonzero(labels.min(0) == labels.max(0))
    if len(constant):
        raise DataError(
            f"factor {constant[0]} has the one value {labels[0, constant[0]]}, so there is nothing to know "
            "of it: leave that column out"
        )
    return labels.astype(np.int64)


def check_arrays(
    means: Any, labels: Any
) -> tuple[Float[np.ndarray, "n latent"], Int[np.ndarray, "n factor"]]:
    """Encoder means in double precision, and class indices as 64-bit integers.

    Raises:
        ArgumentError: if shapes or types are wrong.
        DataError: if a mean is not finite, an index is negative, or a factor has one value.
    """
    labels = check_labels(labels)
    means = host_numbers("means", means)
    if means.ndim != 2 or means.shape[1] == 0:
        raise ArgumentError(f"means must have the shape (n, latent), got {means.shape}")
    if len(means) != len(labels):
        is_turned = means.shape[1] == len(labels)
        cure = "transpose means" if is_turned else "pass those of the same data"
        raise ArgumentError(f"means has {len(means)} rows and labels {len(labels)}: {cure}")
    return means, labels


def check_two_factors(labels: Integer[np.ndarray, "n factor"], name: str) -> None:
    """Refuses a score that is the same for every encoder when there is one factor."""
    if labels.shape[1] < 2:
        raise ArgumentError(f"{name} needs two factors at least: it tells factors apart, and labels has one")


def top_two_gap(scores: Float[np.ndarray, "latent factor"], name: str) -> Float[np.ndarray, "factor"]:
    """How far the best latent of each factor is above the second best.

    Raises:
        ArgumentError: if there is one latent.
    """
    if len(scores) < 2:
        raise ArgumentError(f"{name} needs two latents at least: it is a gap between two, and means has one")
    second, best = np.sort(scores, axis=0)[-2:]
    return best - second


def standardised(values: Float[np.ndarray, "n column"]) -> Float[np.ndarray, "n column"]:
    """Columns with mean 0 and variance 1; a constant one is 0."""
    lowest, spread = values.min(0), np.ptp(values, axis=0)
    is_constant = spread == 0
    unit = (values - lowest) / np.where(
        is_constant, 1, spread
    )  # first, since tiny or huge squares are 0 or inf
    unit -= unit.mean(0)
    return unit / np.where(is_constant, 1, unit.std(0))


def stratified_split(
    labels: Int[np.ndarray, "n"], *, factor: int, train_fraction: float, rng: np.random.Generator
) -> Bool[np.ndarray, "n"]:
    """Which rows to learn from: the same fraction of each class, one row at least on either side.

    Args:
        labels: Classes of one factor.
        factor: Its number, for messages.
        train_fraction: Between 0 and 1.
        rng: Picks the rows.

    Raises:
        ArgumentError: if the fraction is not between 0 and 1.
        DataError: if a class has one row.
    """
    if not 0 < train_fraction < 1:
        raise ArgumentError(f"train_fraction must be between 0 and 1, got {train_fraction!r}")
    values, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if counts.min() < 2:
        raise DataError(
            f"factor {factor} has one row of class {values[counts.argmin()]}, which cannot be both learnt "
            "and tested: leave that row out, or merge the class with another"
        )
    order = np.lexsort((rng.random(len(labels)), inverse))
    place = np.empty(len(labels), np.int64)
    place[order] = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    n_train = np.clip(np.rint(train_fraction * counts), 1, counts - 1)
    return place < n_train[inverse]
