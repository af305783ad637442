"""Scores by batches in which one factor is fixed: those of FactorVAE and of beta-VAE."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Integer
from sklearn.linear_model import LogisticRegression

from backthrough.core import ArgumentError, DataError, check_integer, seed_of
from backthrough.latent.disentanglement.arrays import check_arrays, check_two_factors, standardised

AT_ONCE = 4_000_000  # numbers gathered


class FactorVAEScore(NamedTuple):
    """How often the latent that varies least names the factor that was fixed.

    Attributes:
        per_factor: Accuracy of the evaluation votes; by chance 1 / (number of factors), on average.
        mean: Over the factors.
        train_per_factor: Accuracy of the votes that the majority was taken of.
        votes: How many training votes each latent has for each factor.
        is_active: False for latents left out, since they hardly vary. If all were, the scores are 0.
    """

    per_factor: Float[np.ndarray, "factor"]
    mean: float
    train_per_factor: Float[np.ndarray, "factor"]
    votes: Int[np.ndarray, "latent factor"]
    is_active: Bool[np.ndarray, "latent"]


class BetaVAEScore(NamedTuple):
    """How often a linear classifier of mean differences names the factor that was shared.

    Attributes:
        per_factor: Accuracy for the evaluation batches; by chance 1 / (number of factors), on average.
        mean: Over the factors.
        train_per_factor: Accuracy for the batches that were learnt from.
    """

    per_factor: Float[np.ndarray, "factor"]
    mean: float
    train_per_factor: Float[np.ndarray, "factor"]


class Groups(NamedTuple):
    """Rows sorted by the value of one factor.

    Attributes:
        order: The rows.
        start: For each place in that order, where the rows of the same value begin.
        size: How many they are.
        places: Those whose value has two rows at least.
    """

    order: Int[np.ndarray, "n"]
    start: Int[np.ndarray, "n"]
    size: Int[np.ndarray, "n"]
    places: Int[np.ndarray, "usable"]


def factor_vae_score(
    means: Float[np.ndarray, "n latent"],
    labels: Integer[np.ndarray, "n factor"],
    *,
    random_state: Any = 0,
    n_train: int = 10_000,
    n_test: int = 5_000,
    batch_size: int = 64,
    min_std: float = 0.05,
) -> FactorVAEScore:
    """Fixes a factor, looks which latent varies least, and lets each latent name one factor by majority.

    A vote is argmin_d var(z_d | the factor has one value) / var(z_d) in a batch (Kim and Mnih 2018, section
    4); ties are broken at random. All factors get the same number of votes. The value is that of a random
    row, and the batch is drawn with replacement from the rows that have it, since data need not have
    `batch_size` of them; so other factors vary as they do in the data. Values with one row are never fixed.

    Args:
        means: Of the encoder. Their scales matter to `min_std` only.
        labels: Class indices, a column a factor; two factors at least.
        random_state: Of the batches.
        n_train: Votes that the majority is taken of.
        n_test: Votes for the accuracy.
        batch_size: Rows a vote.
        min_std: Latents with a smaller standard deviation over all rows have no vote; constant ones never do.

    Raises:
        ArgumentError: for a wrong argument, or one factor.
        DataError: if a mean is not finite, or a factor has one value or no value with two rows.

    Example:
        >>> labels = np.indices((4, 4, 4)).reshape(3, -1).T
        >>> factor_vae_score(labels.astype(float), labels, n_train=300, n_test=300).per_factor
        array([1., 1., 1.])
    """
    means, labels, groups = _check("factor_vae_score", means, labels, n_train, n_test, batch_size, fewest=2)
    n_factors, n_latents = labels.shape[1], means.shape[1]
    if not 0 <= min_std < np.inf:
        raise ArgumentError(f"min_std must be finite and at least 0, got {min_std!r}")
    rng = np.random.default_rng(seed_of(random_state))
    is_active = (means.std(0, ddof=1) >= min_std) & (np.ptp(means, axis=0) > 0)
    counts = [np.zeros((n_latents, n_factors), np.int64) for _ in range(2)]
    if is_active.any():
        codes = standardised(means[:, is_active])
        for votes, n_votes in zip(counts, (n_train, n_test), strict=True):
            for k, group in enumerate(groups):
                own = _least_varied(codes, group, len(range(k, n_votes, n_factors)), batch_size, rng)
                votes[is_active, k] = np.bincount(own, minlength=codes.shape[1])
    train, test = counts
    named = np.where(train.any(1), train.argmax(1), -1)
    is_named = named[:, None] == np.arange(n_factors)
    accuracies = [(votes * is_named).sum(0) / np.maximum(votes.sum(0), 1) for votes in (train, test)]
    return FactorVAEScore(accuracies[1], float(accuracies[1].mean()), accuracies[0], train, is_active)


def beta_vae_score(
    means: Float[np.ndarray, "n latent"],
    labels: Integer[np.ndarray, "n factor"],
    *,
    random_state: Any = 0,
    n_train: int = 10_000,
    n_test: int = 5_000,
    batch_size: int = 64,
) -> BetaVAEScore:
    """Tells by a logistic regression which factor pairs of rows share, from the mean |z_1 - z_2| over pairs.

    A batch has `batch_size` pairs (Higgins et al. 2017, section 3). Each pair is two different rows with the
    same value of the factor, the first of them a random row, so the other factors vary as they do in the
    data; rows whose value no other has are never drawn. All factors get the same number of batches. Mean
    differences are standardised, so the scales of latents do not matter. A rotated code can score 1 too.

    Args:
        means: Of the encoder.
        labels: Class indices, a column a factor; two factors at least.
        random_state: Of the pairs.
        n_train: Batches to learn from.
        n_test: Batches for the accuracy.
        batch_size: Pairs a batch.

    Raises:
        ArgumentError: for a wrong argument, or one factor.
        DataError: if a mean is not finite, or a factor has one value or no value with two rows.

    Example:
        >>> labels = np.indices((4, 4, 4)).reshape(3, -1).T
        >>> beta_vae_score(labels.astype(float), labels, n_train=300, n_test=300).per_factor
        array([1., 1., 1.])
    """
    means, labels, groups = _check("beta_vae_score", means, labels, n_train, n_test, batch_size, fewest=1)
    n_factors = labels.shape[1]
    rng = np.random.default_rng(seed_of(random_state))
    codes = standardised(means)
    shared = np.concatenate([np.arange(n_train) % n_factors, np.arange(n_test) % n_factors])
    differences = np.empty((n_train + n_test, means.shape[1]))
    for k, group in enumerate(groups):
        own = shared == k
        differences[own] = _differences(codes, group, int(own.sum()), batch_size, rng)
    features = standardised(differences)
    model = LogisticRegression(max_iter=10_000).fit(features[:n_train], shared[:n_train])
    is_right = model.predict(features) == shared
    train, test = (
        np.bincount(shared[rows], is_right[rows]) / np.bincount(shared[rows])
        for rows in (slice(n_train), slice(n_train, None))
    )
    return BetaVAEScore(test, float(test.mean()), train)


def _check(
    name: str, means: Any, labels: Any, n_train: int, n_test: int, batch_size: int, *, fewest: int
) -> tuple[Float[np.ndarray, "n latent"], Int[np.ndarray, "n factor"], list[Groups]]:
    """What both scores ask of their arguments, and the rows by the values of each factor."""
    means, labels = check_arrays(means, labels)
    check_two_factors(labels, name)
    check_integer("n_train", n_train, minimum=labels.shape[1])
    check_integer("n_test", n_test, minimum=labels.shape[1])
    check_integer("batch_size", batch_size, minimum=fewest)
    return means, labels, [_groups(factor, k) for k, factor in enumerate(labels.T)]


def _groups(factor: Int[np.ndarray, "n"], number: int) -> Groups:
    _, counts = np.unique(factor, return_counts=True)
    size = np.repeat(counts, counts)
    places = np.flatnonzero(size > 1)
    if len(places) == 0:
        raise DataError(
            f"factor {number} has {len(counts)} values and a row of each, so it cannot be fixed: leave it "
            "out, or merge its values into fewer"
        )
    return Groups(
        np.argsort(factor, kind="stable"), np.repeat(np.cumsum(counts) - counts, counts), size, places
    )


def _chunks(n: int, numbers_each: int) -> Iterator[int]:
    """Parts of `n` batches that are gathered at once."""
    at_once = max(1, AT_ONCE // numbers_each)
    for first in range(0, n, at_once):
        yield min(at_once, n - first)


def _least_varied(
    codes: Float[np.ndarray, "n latent"],
    group: Groups,
    n_votes: int,
    batch_size: int,
    rng: np.random.Generator,
) -> Int[np.ndarray, "vote"]:
    """The latent of least variance in each batch of rows with one value of the factor."""
    votes = [np.empty(0, np.int64)]
    for n in _chunks(n_votes, batch_size * codes.shape[1]):
        first = rng.choice(group.places, (n, 1))
        others = group.start[first] + rng.integers(group.size[first], size=(n, batch_size))
        batch = codes[group.order[others]]
        variances = (batch - batch[:, :1]).var(1)  # the difference is exactly 0 where nothing varies
        is_least = variances == variances.min(1, keepdims=True)
        votes.append((is_least * rng.uniform(0.5, 1, is_least.shape)).argmax(1))
    return np.concatenate(votes)


def _differences(
    codes: Float[np.ndarray, "n latent"],
    group: Groups,
    n_batches: int,
    n_pairs: int,
    rng: np.random.Generator,
) -> Float[np.ndarray, "batch latent"]:
    """The mean of |z_1 - z_2| over the pairs of each batch."""
    means = [np.empty((0, codes.shape[1]))]
    for n in _chunks(n_batches, n_pairs * codes.shape[1]):
        place = rng.choice(group.places, (n, n_pairs))
        start, size = group.start[place], group.size[place]
        other = start + (place - start + rng.integers(1, size)) % size
        means.append(np.abs(codes[group.order[place]] - codes[group.order[other]]).mean(1))
    return np.concatenate(means)
