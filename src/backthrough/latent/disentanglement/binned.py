"""Mutual information of binned encoder means with factors, and two scores made of it."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Integer
from scipy.special import entr

from backthrough.core import ArgumentError, DataError, check_integer
from backthrough.latent.disentanglement.arrays import (
    LatentScores,
    check_arrays,
    check_labels,
    top_two_gap,
)


class BinnedMIG(NamedTuple):
    """The mutual information gap of binned means.

    Attributes:
        per_factor: Gap between the two most informative latents, in shares of the factor's entropy.
        mean: Over the factors.
        mutual_information: Nats.
        entropies: Of the factors, nats.
    """

    per_factor: Float[np.ndarray, "factor"]
    mean: float
    mutual_information: Float[np.ndarray, "latent factor"]
    entropies: Float[np.ndarray, "factor"]


def binned_mutual_information(
    means: Float[np.ndarray, "n latent"], labels: Integer[np.ndarray, "n factor"], *, n_bins: int = 20
) -> Float[np.ndarray, "latent factor"]:
    """I(binned mean of latent j; factor k), nats, of the table of counts of bins and classes.

    Bins are of equal width between the least and the greatest mean of a latent, as of `numpy.histogram`. The
    estimate is too high by about (occupied bins - 1)(classes - 1) / (2n), so pure noise has some; and what a
    latent tells within a bin is lost, so a factor with more classes than bins has less than its entropy.

    Args:
        means: Of the encoder.
        labels: Class indices, a column a factor.
        n_bins: A latent.

    Raises:
        ArgumentError: for a wrong argument.
        DataError: if a mean is not finite or a factor has one value.

    Example:
        >>> means, labels = np.array([[0.0], [0.1], [5.0], [4.9]]), np.array([[0], [0], [1], [1]])
        >>> binned_mutual_information(means, labels).round(4)  # ln 2
        array([[0.6931]])
    """
    means, labels = check_arrays(means, labels)
    n_bins = check_integer("n_bins", n_bins, minimum=2)
    if n_bins > max(len(means), 20):
        raise ArgumentError(f"n_bins must be at most the number of rows, {len(means)}, got {n_bins}")
    labels = np.stack([np.unique(factor, return_inverse=True)[1] for factor in labels.T], axis=1)
    n_classes = labels.max(0) + 1
    information = np.empty((means.shape[1], labels.shape[1]))
    for j, latent in enumerate(means.T):
        edges = np.linspace(latent.min(), latent.max(), n_bins + 1)[1:-1]
        bins = np.searchsorted(edges, latent, side="right")
        for k, factor in enumerate(labels.T):
            counts = np.bincount(bins * n_classes[k] + factor, minlength=n_bins * n_classes[k])
            information[j, k] = _mutual_information(counts.reshape(n_bins, n_classes[k]))
    return information


def _mutual_information(counts: Integer[np.ndarray, "row column"]) -> float:
    seen = counts > 0
    expected = counts.sum(1, keepdims=True).astype(float) * counts.sum(0)
    information = (counts[seen] * np.log(counts[seen] * float(counts.sum()) / expected[seen])).sum()
    return max(0.0, float(information) / counts.sum())


def entropies(labels: Integer[np.ndarray, "n factor"]) -> Float[np.ndarray, "factor"]:
    """H of each factor over the rows, nats.

    Raises:
        DataError: if a factor has one value.
    """
    counts = [np.unique(factor, return_counts=True)[1] for factor in check_labels(labels).T]
    return np.array([entr(own / own.sum()).sum() for own in counts])


def mig_binned(
    means: Float[np.ndarray, "n latent"], labels: Integer[np.ndarray, "n factor"], *, n_bins: int = 20
) -> BinnedMIG:
    """The mutual information gap of binned encoder means, which is not that of samples of q(z | x).

    (I of the best latent - I of the second best) / H(factor), from 0 to 1: what disentanglement_lib calls
    `discrete_mig` (Locatello et al. 2019). Chen et al. (2018) define the gap by z ~ q(z | x), so noise that q
    adds lowers theirs and not this one.

    Args:
        means: Of the encoder, two latents at least.
        labels: Class indices, a column a factor.
        n_bins: A latent.

    Raises:
        ArgumentError: for a wrong argument, or one latent.
        DataError: if a mean is not finite or a factor has one value.

    Example:
        >>> labels = np.indices((3, 4)).reshape(2, -1).T
        >>> mig_binned(labels.astype(float), labels).per_factor
        array([1., 1.])
    """
    information = binned_mutual_information(means, labels, n_bins=n_bins)
    of_factors = entropies(labels)
    gaps = top_two_gap(information, "mig_binned") / of_factors
    return BinnedMIG(gaps, float(gaps.mean()), information, of_factors)


def modularity(mutual_information: Float[np.ndarray, "latent factor"]) -> LatentScores:
    """Whether each latent tells of one factor only (Ridgeway and Mozer 2018, section 3).

    1 - (sum_k I_jk^2 - max_k I_jk^2) / ((K - 1) max_k I_jk^2). A latent that tells of no factor has 0. One
    that is pure noise does not, since an estimated I is above zero: its score then is arbitrary.

    Args:
        mutual_information: As of `binned_mutual_information`; its unit cancels.

    Raises:
        ArgumentError: if there is one factor.
        DataError: if an entry is negative or not finite.

    Example:
        >>> modularity(np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])).per_latent
        array([1., 0., 0.])
    """
    information = np.asarray(mutual_information, np.float64)
    if information.ndim != 2 or information.size == 0 or information.shape[1] < 2:
        raise ArgumentError(
            "modularity needs mutual_information of shape (latent, factor) with two factors at least, since "
            f"every latent tells of one only where there is one; got the shape {information.shape}"
        )
    if not (np.isfinite(information) & (information >= 0)).all():
        raise DataError("mutual_information must be finite and at least 0; take estimates below it for 0")
    largest = information.max(1, keepdims=True)
    is_dead = largest[:, 0] == 0
    relative = information / np.where(largest == 0, 1, largest)
    others = np.square(relative).sum(1) - 1
    scores = np.where(is_dead, 0.0, 1 - others / (information.shape[1] - 1))
    return LatentScores(scores, float(scores.mean()))
