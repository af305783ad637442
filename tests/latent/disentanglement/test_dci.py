"""DCI where closed forms know the importance, and codes for which it is known what they are."""

import numpy as np
import pytest
from scipy.stats import binom, entropy

from backthrough.core import ArgumentError, DataError
from backthrough.latent.disentanglement.arrays import stratified_split
from backthrough.latent.disentanglement.dci import completeness_of, dci, disentanglement_of

DIAGONAL = 5 * np.eye(5)
HALF = 1 - np.log(2) / np.log(10)
RNG = np.random.default_rng(0)
LABELS = np.stack([RNG.integers(0, k, 2000) for k in (3, 5, 8)], 1)
CODES = LABELS + 0.05 * RNG.standard_normal(LABELS.shape)


@pytest.mark.parametrize(
    ("importance", "disentanglement", "completeness"),
    [
        (DIAGONAL, 1, 1),
        (np.array([[1.0, 0], [0, 1], [0, 0]]), 1, 1),  # a latent of no use
        (np.zeros((10, 10)), 0, 0),
        (np.ones((4, 6)), 0, 0),
        (np.vstack([DIAGONAL, DIAGONAL]), 1, HALF),  # two codes a factor
        (DIAGONAL[:2], 1, 1),  # factors that no latent has
        (np.hstack([DIAGONAL, DIAGONAL]), HALF, 1),  # one code two factors
    ],
)
def test_closed_forms(importance, disentanglement, completeness):
    """Those of disentanglement_lib's tests."""
    for scale in (1e-200, 1.0, 1e200):
        assert disentanglement_of(scale * importance).mean == pytest.approx(disentanglement, abs=1e-12)
        assert completeness_of(scale * importance).mean == pytest.approx(completeness, abs=1e-12)
    assert pytest.approx(0.69897, abs=1e-6) == HALF


def test_each_latent_and_factor_is_weighted_by_its_importance():
    importance = RNG.random((6, 4))
    rows, columns = disentanglement_of(importance), completeness_of(importance)
    np.testing.assert_allclose(rows.per_latent, 1 - entropy(importance, axis=1, base=4), rtol=1e-12)
    np.testing.assert_allclose(columns.per_factor, 1 - entropy(importance, axis=0, base=6), rtol=1e-12)
    assert rows.mean == pytest.approx(np.average(rows.per_latent, weights=importance.sum(1)))
    assert columns.mean == pytest.approx(np.average(columns.per_factor, weights=importance.sum(0)))


@pytest.mark.parametrize("regressor", ["forest", "lasso"])
def test_a_perfect_code_is_found_so_whatever_its_order_and_scales(regressor):
    codes = np.concatenate([CODES, RNG.standard_normal((2000, 2)), np.full((2000, 1), 0.1)], 1)
    order = [3, 1, 5, 0, 4, 2]
    scaled = (codes * [1e6, -1e-6, 1, 1e-6, 1e6, 1])[:, order]
    for found in (dci(codes, LABELS, regressor=regressor), dci(scaled, LABELS, regressor=regressor)):
        assert found.disentanglement > 0.95  # factors drawn at random are a little correlated
        assert (found.completeness_per_factor > 0.92).all()
        assert found.informativeness > 0.999
        assert found.train_per_factor.min() > 0.999
    assert list(found.importance.argmax(0)) == [order.index(k) for k in range(3)]
    assert (found.importance[order.index(5)] == 0).all()  # the constant one


def test_forty_values_of_a_factor_are_all_told():
    labels = np.stack([RNG.integers(0, 40, 2000), RNG.integers(0, 2, 2000)], 1)
    found = dci(labels.astype(np.float32), labels)
    assert found.disentanglement > 0.99
    assert (found.informativeness_per_factor > 0.99).all()


def test_a_copy_of_each_latent_halves_completeness_only():
    found = dci(np.concatenate([LABELS, LABELS], 1).astype(float), LABELS)
    assert found.disentanglement > 0.98
    np.testing.assert_allclose(found.completeness_per_factor, 1 - np.log(2) / np.log(6), atol=0.05)


def test_a_rotated_code_is_neither():
    angles = np.linalg.qr(np.ones((2, 2)) - 2 * np.eye(2) + [[0, 0.6], [-0.6, 0]])[0]
    labels = np.stack([RNG.integers(0, 8, 2000) for _ in range(2)], 1)
    found = dci(labels @ angles, labels)
    assert found.disentanglement < 0.4
    assert found.completeness < 0.4


def test_noise_tells_classes_by_chance():
    """By Binomial(400, 1/K) for each factor; a false alarm in 1e8 runs."""
    found = dci(RNG.standard_normal((2000, 4)), LABELS)
    for own, k in zip(found.informativeness_per_factor, (3, 5, 8), strict=True):
        law = binom(400, 1 / k)
        assert law.ppf(1e-9) <= 400 * own <= law.isf(1e-9)
    assert (found.completeness_per_factor < 0.05).all()


def test_rows_in_order_are_split_as_rows_at_random():
    order = np.lexsort(LABELS.T)
    found = dci(CODES[order], LABELS[order])
    assert found.disentanglement > 0.98
    assert found.informativeness > 0.999
    again = dci(CODES[order], LABELS[order])
    np.testing.assert_array_equal(found.importance, again.importance)


def test_boosting_is_there_for_comparison():
    found = dci(CODES[:400], LABELS[:400], regressor="boosting", random_state=1)
    assert found.disentanglement > 0.95
    assert found.informativeness > 0.95


def test_each_class_is_split_by_the_same_fraction():
    labels = np.repeat([0, 1, 2, 5], [2, 3, 10, 1000])
    RNG.shuffle(labels)
    is_train = stratified_split(labels, factor=0, train_fraction=0.8, rng=np.random.default_rng(0))
    assert [int(is_train[labels == c].sum()) for c in (0, 1, 2, 5)] == [1, 2, 8, 800]
    other = stratified_split(labels, factor=0, train_fraction=0.8, rng=np.random.default_rng(1))
    assert (is_train != other).any()


def test_what_is_refused():
    with pytest.raises(ArgumentError, match="two latents and two factors at least, got 1 and 3"):
        dci(CODES[:, :1], LABELS)
    with pytest.raises(ArgumentError, match="got 3 and 1"):
        dci(CODES, LABELS[:, :1])
    with pytest.raises(ArgumentError, match="train_fraction must be between 0 and 1, got 1.0"):
        dci(CODES, LABELS, train_fraction=1.0)
    lonely = LABELS.copy()
    lonely[7, 1] = 9
    with pytest.raises(DataError, match="factor 1 has one row of class 9, .* leave that row out"):
        dci(CODES, lonely)
    with pytest.raises(ArgumentError, match="two factors at least"):
        disentanglement_of(np.ones((3, 1)))
    with pytest.raises(ArgumentError, match="two latents at least"):
        completeness_of(np.ones((1, 3)))
    with pytest.raises(DataError, match="pass the magnitudes"):
        disentanglement_of(np.array([[1.0, -1.0]]))
