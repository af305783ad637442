"""How much better one latent alone predicts a factor than any other (Kumar et al. 2018)."""

from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Integer
from sklearn.svm import LinearSVC

from backthrough.core import ArgumentError, check_integer, seed_of
from backthrough.latent.disentanglement.arrays import (
    check_arrays,
    standardised,
    stratified_split,
    top_two_gap,
)

PENALTY = 0.01  # C of the published protocol


class SAP(NamedTuple):
    """Separated attribute predictability.

    Attributes:
        per_factor: Gap between the two latents that predict the factor best.
        mean: Over the factors.
        scores: How well each latent alone predicts each factor: held-out balanced accuracy, 1 / (number of
            classes) by chance; R^2 for a continuous factor, 0 by chance.
    """

    per_factor: Float[np.ndarray, "factor"]
    mean: float
    scores: Float[np.ndarray, "latent factor"]


def sap(
    means: Float[np.ndarray, "n latent"],
    labels: Integer[np.ndarray, "n factor"],
    *,
    continuous: Collection[int] = (),
    random_state: Any = 0,
    train_fraction: float = 0.8,
) -> SAP:
    """Predicts each factor from each latent alone, and takes the gap between the two best.

    A discrete factor is predicted by a linear support vector machine (C = .01, balanced class weights, one
    class against the rest) of the standardised mean. Of ordered classes it can tell the outer ones only, so a
    perfect code of 32 positions scores little: name such factors in `continuous`. Accuracy is balanced here,
    as the weights are; disentanglement_lib has the same weights and plain accuracy.

    Args:
        means: Of the encoder, two latents at least; their scales do not matter.
        labels: Class indices, a column a factor; two rows at least of each class that is not continuous.
        continuous: Numbers of the factors whose indices are to be taken for evenly spaced numbers; the score
            is the squared correlation over all rows.
        random_state: Of the split.
        train_fraction: Of the rows of each class, to learn from.

    Raises:
        ArgumentError: for a wrong argument, or one latent.
        DataError: if a mean is not finite, or a factor has one value or a class of one row.

    Example:
        >>> labels = np.indices((3, 40)).reshape(2, -1).T
        >>> sap(labels.astype(float), labels, continuous=[0, 1]).per_factor.round(6)
        array([1., 1.])
    """
    means, labels = check_arrays(means, labels)
    n_factors = labels.shape[1]
    if not isinstance(continuous, Collection):
        raise ArgumentError(f"continuous must be numbers of factors, such as [0], got {continuous!r}")
    numbers = [check_integer("continuous", number, minimum=0) for number in continuous]
    if any(number >= n_factors for number in numbers):
        raise ArgumentError(
            f"continuous has factor {max(numbers)}, but labels has {n_factors}, counted from 0"
        )
    seed = seed_of(random_state)
    rng = np.random.default_rng(seed)
    codes = standardised(means)
    scores = np.empty((means.shape[1], n_factors))
    top_two_gap(scores, "sap")  # refuses one latent before anything is fitted
    for k, factor in enumerate(labels.T):
        if k in numbers:
            scores[:, k] = (codes.T @ standardised(factor[:, None].astype(float))[:, 0] / len(codes)) ** 2
            continue
        is_train = stratified_split(factor, factor=k, train_fraction=train_fraction, rng=rng)
        scores[:, k] = [_balanced_accuracy(code, factor, is_train, seed) for code in codes.T]
    gaps = top_two_gap(scores, "sap")
    return SAP(gaps, float(gaps.mean()), scores)


def _balanced_accuracy(
    code: Float[np.ndarray, "n"], factor: Int[np.ndarray, "n"], is_train: Bool[np.ndarray, "n"], seed: int
) -> float:
    """The mean over classes of the share of their held-out rows that is predicted."""
    _, classes, counts = np.unique(factor[~is_train], return_inverse=True, return_counts=True)
    if np.ptp(code[is_train]) == 0:
        return 1 / len(counts)
    model = LinearSVC(C=PENALTY, class_weight="balanced", random_state=seed)
    model.fit(code[is_train, None], factor[is_train])
    is_right = model.predict(code[~is_train, None]) == factor[~is_train]
    return float((np.bincount(classes, is_right) / counts).mean())
