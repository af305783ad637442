"""The SAP score where normal laws know how often one latent predicts a class."""

import numpy as np
import pytest
from scipy.stats import norm

from backthrough.core import ArgumentError, DataError
from backthrough.latent.disentanglement.sap import sap

RNG = np.random.default_rng(0)
N = 5000
BINARY = RNG.integers(0, 2, (N, 2))


def test_a_perfect_code_of_two_classes_has_a_half():
    """1 for the code, and 1/2 by chance for a constant."""
    found = sap(np.stack([BINARY[:, 0] * 1e-6, np.full(N, 0.1), -1e6 * BINARY[:, 1]], 1), BINARY)
    np.testing.assert_allclose(found.scores[[0, 1, 1, 2], [0, 0, 1, 1]], [1, 0.5, 0.5, 1])
    assert (np.abs(found.per_factor - 0.5) < 0.1).all()
    copied = sap(np.repeat(BINARY[:, :1].astype(float), 2, axis=1), BINARY[:, :1])
    assert copied.per_factor == 0


def test_classes_at_a_distance_are_told_as_normal_laws_overlap():
    """N(-1, 1) against N(1, 1): Phi(1). Held-out hits are binomial; six standard errors."""
    rare = (RNG.random((N, 1)) < 0.1).astype(int)  # balanced accuracy, so the border stays in the middle
    found = sap(2.0 * rare + RNG.standard_normal((N, 2)), rare, train_fraction=0.5)
    n_rare = N / 2 * rare.mean()
    error = np.sqrt(norm.cdf(1) * norm.cdf(-1) / 4 * (1 / n_rare + 2 / N))
    assert (np.abs(found.scores - norm.cdf(1)) < 6 * error + 0.01).all()  # .01: the border is estimated


def test_noise_predicts_by_chance():
    """The variance of a balanced accuracy of noise is at most 1/4n; six standard errors."""
    labels = np.stack([RNG.integers(0, k, N) for k in (2, 4)], 1)
    found = sap(RNG.standard_normal((N, 3)), labels, train_fraction=0.5)
    for k, classes in enumerate((2, 4)):
        assert (np.abs(found.scores[:, k] - 1 / classes) < 6 * 0.5 / np.sqrt(N / 2)).all()
    assert found.mean == pytest.approx(found.per_factor.mean())


def test_a_continuous_factor_is_scored_by_its_squared_correlation():
    labels = RNG.integers(0, 32, (N, 2))
    means = labels @ np.array([[1.0, 0.3, 0], [0, 1, 0]]) + RNG.standard_normal((N, 3))
    found = sap(means, labels, continuous=[0, 1])
    expected = np.corrcoef(means.T, labels.T)[:3, 3:] ** 2
    np.testing.assert_allclose(found.scores, expected, atol=1e-12)
    second, best = np.sort(expected, axis=0)[-2:]
    np.testing.assert_allclose(found.per_factor, best - second, atol=1e-12)
    mixed = sap(np.round(means, 3), np.stack([labels[:, 0], BINARY[:, 0]], 1), continuous=[0])
    np.testing.assert_allclose(mixed.scores[:, 0], expected[:, 0], atol=1e-3)
    assert (np.abs(mixed.scores[:, 1] - 0.5) < 0.12).all()


def test_order_and_scale_do_not_matter():
    labels = RNG.integers(0, 3, (N, 1))
    means = labels + RNG.standard_normal((N, 3)) * [0.3, 1, 3]
    found, moved = sap(means, labels), sap((means * [1e6, -1, 1e-6] + [1e6, 0, 1])[:, [2, 0, 1]], labels)
    np.testing.assert_allclose(moved.scores, found.scores[[2, 0, 1]], atol=0.01)
    rows = np.argsort(labels[:, 0])
    ordered = sap(means[rows], labels[rows])
    np.testing.assert_allclose(ordered.scores, found.scores, atol=6 * 0.5 * np.sqrt(2 / 1000))


def test_what_is_refused():
    with pytest.raises(ArgumentError, match="sap needs two latents"):
        sap(BINARY[:, :1].astype(float), BINARY)
    with pytest.raises(ArgumentError, match="continuous has factor 2, but labels has 2"):
        sap(BINARY.astype(float), BINARY, continuous=[0, 2])
    lonely = BINARY.copy()
    lonely[0, 0] = 4
    with pytest.raises(DataError, match="factor 0 has one row of class 4"):
        sap(BINARY.astype(float), lonely)
    sap(BINARY.astype(float), lonely, continuous=[0])
