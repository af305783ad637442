"""Binned mutual information against scikit-learn's, and what closed forms know of its two scores."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chi2, entropy
from sklearn.metrics import mutual_info_score

from backthrough.core import ArgumentError, DataError
from backthrough.latent.disentanglement.arrays import check_arrays, standardised
from backthrough.latent.disentanglement.binned import (
    binned_mutual_information,
    entropies,
    mig_binned,
    modularity,
)

RNG = np.random.default_rng(0)
LABELS = np.stack([RNG.integers(0, k, 3000) for k in (2, 5, 40)], 1)
MEANS = RNG.standard_normal((3000, 4)) + np.concatenate([LABELS, LABELS[:, :1]], 1) * [1, 0.5, 0.1, 0]
GRID = np.indices((4, 6, 3)).reshape(3, -1).T


@pytest.mark.parametrize("n_bins", [2, 7, 20, 50])
def test_the_information_is_that_of_scikit_learn(n_bins):
    found = binned_mutual_information(MEANS, LABELS, n_bins=n_bins)
    for j, latent in enumerate(MEANS.T):
        bins = np.digitize(latent, np.histogram(latent, n_bins)[1][:-1])
        expected = [mutual_info_score(factor, bins) for factor in LABELS.T]
        np.testing.assert_allclose(found[j], expected, atol=1e-12)


def test_entropies_are_those_of_scipy():
    expected = [entropy(np.unique(factor, return_counts=True)[1]) for factor in LABELS.T]
    np.testing.assert_allclose(entropies(LABELS), expected, rtol=1e-12)
    np.testing.assert_allclose(entropies(GRID), np.log([4, 6, 3]), rtol=1e-12)


def test_a_perfect_code_has_the_whole_gap_and_a_copy_of_a_latent_takes_it():
    found = mig_binned(GRID * [1.0, -2.0, 1e-6], GRID)
    np.testing.assert_allclose(found.per_factor, 1, rtol=1e-12)
    np.testing.assert_allclose(found.mutual_information, np.diag(np.log([4, 6, 3])), atol=1e-12)
    twice = mig_binned(GRID[:, [0, 1, 2, 1]].astype(float), GRID)
    np.testing.assert_allclose(twice.per_factor, [1, 0, 1], atol=1e-12)
    assert twice.mean == pytest.approx(2 / 3)


def test_noise_has_as_much_as_independence_explains():
    """2nI is chi-squared with (bins - 1)(classes - 1) degrees of freedom; a false alarm in 1e8 runs."""
    rng = np.random.default_rng(1)
    means, labels = rng.random((20_000, 3)), np.stack([rng.integers(0, k, 20_000) for k in (2, 5)], 1)
    found = 2 * len(means) * binned_mutual_information(means, labels)
    for k, classes in enumerate((2, 5)):
        law = chi2(19 * (classes - 1))
        assert (found[:, k] > law.ppf(1e-9)).all()
        assert (found[:, k] < law.isf(1e-9)).all()


def test_order_and_scale_do_not_matter():
    found = mig_binned(MEANS, LABELS)
    order, rows = [2, 0, 3, 1], RNG.permutation(len(MEANS))
    moved = mig_binned((MEANS * [1e6, 3, 1e-6, 1] + [1e6, -5, 0, 1])[rows][:, order], LABELS[rows])
    np.testing.assert_allclose(moved.per_factor, found.per_factor, atol=1e-3)  # a mean at an edge may hop
    np.testing.assert_allclose(moved.mutual_information, found.mutual_information[order], atol=1e-3)
    np.testing.assert_allclose(moved.entropies, found.entropies, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, jnp.bfloat16])
def test_precision_is_double_whatever_comes_in(dtype):
    means = MEANS.astype(dtype)
    np.testing.assert_array_equal(
        binned_mutual_information(means, LABELS.astype(np.uint8)),
        binned_mutual_information(means.astype(np.float64), LABELS),
    )


def test_constant_latents_and_few_rows():
    means = np.concatenate([MEANS, np.full((3000, 1), 0.1)], 1)
    assert (binned_mutual_information(means, LABELS)[4] == 0).all()
    nearly = np.full((3000, 1), 1e6)
    nearly[0] = np.nextafter(1e6, 2e6)  # less than 20 numbers lie between the edges
    assert np.isfinite(binned_mutual_information(nearly, LABELS)).all()
    few = binned_mutual_information(np.array([[0.0], [3.0]]), np.array([[0], [1]]))
    np.testing.assert_allclose(few, np.log(2))
    huge = standardised(np.array([[1e-200, 1e200, 7.0], [3e-200, 3e200, 7.0]]))
    np.testing.assert_allclose(huge, [[-1, -1, 0], [1, 1, 0]])


def test_modularity_is_the_published_one():
    """The closed forms of disentanglement_lib's tests."""
    diagonal = 5 * np.eye(5)
    assert modularity(np.array([[1.0, 0], [0, 1], [0, 0]])).mean == pytest.approx(2 / 3)
    assert modularity(np.hstack([diagonal, diagonal])).mean == pytest.approx(8 / 9)
    assert modularity(np.vstack([diagonal, diagonal])).mean == 1
    assert modularity(diagonal[:2]).mean == 1
    assert modularity(np.zeros((10, 10))).mean == 0
    assert modularity(np.ones((2, 3))).mean == 0
    np.testing.assert_allclose(modularity(np.array([[3.0, 4.0, 0]])).per_latent, 1 - 9 / 32)
    np.testing.assert_allclose(modularity(1e-200 * np.array([[3.0, 4.0, 0]])).per_latent, 1 - 9 / 32)


def test_what_is_refused():
    with pytest.raises(ArgumentError, match="two factors at least"):
        modularity(np.ones((3, 1)))
    with pytest.raises(DataError, match="must be finite and at least 0"):
        modularity(np.array([[1.0, -0.1]]))
    with pytest.raises(ArgumentError, match="mig_binned needs two latents"):
        mig_binned(MEANS[:, :1], LABELS)
    with pytest.raises(ArgumentError, match="n_bins must be at least 2"):
        binned_mutual_information(MEANS, LABELS, n_bins=1)
    with pytest.raises(DataError, match=r"means must be finite, but entry \(1, 2\) is nan"):
        binned_mutual_information(
            np.where(np.arange(12).reshape(3, 4) == 6, np.nan, 0.0), np.array([[0], [1], [1]])
        )
    with pytest.raises(DataError, match="factor 0 has the one value 1"):
        entropies(np.array([[1, 0], [1, 1]]))
    with pytest.raises(DataError, match=r"entry \(1, 0\) is -1"):
        entropies(np.array([[1, 0], [-1, 1]]))
    with pytest.raises(ArgumentError, match="means has 3000 rows and labels 72"):
        check_arrays(MEANS, GRID)
    with pytest.raises(ArgumentError, match="whole numbers of shape"):
        check_arrays(MEANS, LABELS.astype(float))
    with pytest.raises(DataError, match="means must be real numbers"):
        check_arrays(np.full((3000, 2), "a"), LABELS)
    with pytest.raises(ArgumentError, match=r"shape \(n, latent\)"):
        check_arrays(MEANS[:, 0], LABELS)
    with pytest.raises(DataError, match="no rows"):
        check_arrays(MEANS[:0], LABELS[:0])
