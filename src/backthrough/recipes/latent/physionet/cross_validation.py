"""Stratified folds, and how well scores rank two classes."""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import rankdata

from backthrough.core import ArgumentError, DataError, check_integer


def stratified_folds(
    labels: Bool[np.ndarray, "row"], n_folds: int, *, seed: int | list[int]
) -> Int[np.ndarray, "row"]:
    """The fold of each row, at random; every fold has the same number of each class, or one more.

    Raises:
        ArgumentError: if `n_folds` is below 2.
        DataError: if a class has fewer rows than there are folds.
    """
    n_folds = check_integer("n_folds", n_folds, minimum=2)
    n_positive = int(labels.sum())
    fewest = min(n_positive, len(labels) - n_positive)
    if fewest < n_folds:
        raise DataError(f"{n_folds} folds need as many rows of each class; one class has {fewest}")
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    folds = np.empty(len(labels), np.int64)
    folds[order] = np.arange(len(labels)) % n_folds
    return folds


def roc_auc(labels: Bool[np.ndarray, "row"], scores: Float[np.ndarray, "row"]) -> float:
    """The probability that a positive has a higher score than a negative; a tie counts half.

    The Mann-Whitney statistic, the area under the ROC curve.

    Raises:
        ArgumentError: if there is only one class, or a score is not finite.

    Example:
        >>> roc_auc(np.array([False, True, True]), np.array([0.1, 0.1, 0.7]))
        0.75
    """
    n_positive = int(labels.sum())
    n_negative = len(labels) - n_positive
    if not n_positive or not n_negative:
        raise ArgumentError("an AUC needs rows of both classes")
    if not np.isfinite(scores).all():
        raise ArgumentError("an AUC needs finite scores")
    rank_sum = rankdata(scores)[labels].sum()
    return float((rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def roc_curve(
    labels: Bool[np.ndarray, "row"], scores: Float[np.ndarray, "row"]
) -> tuple[Float[np.ndarray, "threshold"], Float[np.ndarray, "threshold"]]:
    """False and true positive rates at every threshold, from (0, 0) to (1, 1)."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)  # rows of one score fall together
    hits = np.cumsum(labels[order])[last]
    alarms = np.cumsum(~labels[order])[last]
    return np.append(0.0, alarms / alarms[-1]), np.append(0.0, hits / hits[-1])
