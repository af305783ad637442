"""Areas under ROC curves against scikit-learn's and those of normal laws."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from backthrough.core import DataError
from backthrough.latent.disentanglement.explicitness import _areas, explicitness

RNG = np.random.default_rng(0)
N = 4000


def test_areas_are_those_of_scikit_learn():
    classes = np.arange(300) % 4
    scores = RNG.integers(0, 9, (300, 4)) + (classes[:, None] == np.arange(4))  # many ties
    is_class = classes[:, None] == np.arange(4)
    expected = [roc_auc_score(is_class[:, c], scores[:, c]) for c in range(4)]
    np.testing.assert_allclose(_areas(scores.astype(float), is_class), expected, rtol=1e-12)


def test_two_normal_classes_have_the_area_that_is_known():
    """N(-1, 1) against N(1, 1): Phi(2 / sqrt 2). Its error is at most sqrt(A (1 - A) / smaller class)."""
    labels = (RNG.random((N, 1)) < 0.3).astype(int)
    means = 2.0 * labels + RNG.standard_normal((N, 1))
    found = explicitness(means, labels, train_fraction=0.5)
    truth = norm.cdf(np.sqrt(2))
    error = np.sqrt(truth * (1 - truth) / (N / 2 * labels.mean()))
    assert abs(found.per_factor[0] - truth) < 6 * error
    assert abs(found.train_per_factor[0] - truth) < 6 * error


def test_a_perfect_code_has_one_whatever_its_order_and_scales():
    labels = np.stack([RNG.integers(0, k, N) for k in (2, 5)], 1)
    means = np.stack([1e6 * labels[:, 0], np.full(N, 0.1), -1e-6 * labels[:, 1]], 1)
    for codes in (means, means[:, [2, 0, 1]].astype(np.float32)):
        found = explicitness(codes, labels)
        np.testing.assert_allclose(found.per_factor[0], 1)
        assert 0.95 < found.per_factor[1] <= 1  # a class between others: softmax tells it
        assert found.mean == pytest.approx(found.per_factor.mean())
    by_hand = explicitness(np.eye(5)[labels[:, 1]], labels[:, 1:])
    np.testing.assert_allclose(by_hand.per_factor, 1)


def test_noise_has_a_half():
    """Each class's area has the error sqrt((n+1) / (12 a b)) of a rank sum; a false alarm in 1e8 runs."""
    labels = np.stack([RNG.integers(0, k, N) for k in (2, 6)], 1)
    found = explicitness(RNG.standard_normal((N, 3)), labels, train_fraction=0.5)
    for own, k in zip(found.per_factor, (2, 6), strict=True):
        n, a = N / 2, N / 2 / k
        assert abs(own - 0.5) < 6 * np.sqrt((n + 1) / (12 * a * (n - a)))


def test_scale_and_order_of_rows_do_not_matter():
    labels = RNG.integers(0, 3, (N, 1))
    means = labels + RNG.standard_normal((N, 3))
    found = explicitness(means, labels)
    scaled = explicitness(means * [1e6, -1, 1e-6] + [1e6, 0, 1], labels)
    np.testing.assert_allclose(scaled.per_factor, found.per_factor, atol=1e-4)
    rows = np.argsort(labels[:, 0])
    ordered = explicitness(means[rows], labels[rows])
    np.testing.assert_allclose(ordered.per_factor, found.per_factor, atol=6 * 0.5 / np.sqrt(N / 15))


def test_a_class_of_one_row_is_refused():
    labels = np.arange(20)[:, None] % 2
    labels[3] = 2
    with pytest.raises(DataError, match="factor 0 has one row of class 2"):
        explicitness(labels.astype(float), labels)
