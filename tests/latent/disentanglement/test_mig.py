import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from backthrough.core import ArgumentError, DataError
from backthrough.latent import Codes, mig, mutual_information, read_factors

GRID = np.indices((4, 4)).reshape(2, -1).T
ROTATION = np.array([[1.0, 1.0], [-1.0, 1.0]]) / np.sqrt(2)


def coded(means, scale):
    return Codes(means, np.full(np.shape(means), scale))


def some(n=600, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.c_[rng.integers(0, 5, n), rng.integers(0, 3, n)]
    means = np.c_[labels[:, 0] + 0.3 * rng.normal(size=n), labels.sum(1), 0.1 * rng.normal(size=n)]
    scales = np.exp(0.3 * rng.normal(size=(n, 3)) + [-1.0, -0.5, 0.0])
    return Codes(means, scales), labels


def by_quadrature(codes, labels):
    """I(z_j; v) by the trapezoidal rule on a fine grid, in double precision."""
    found = np.zeros((codes.latent_size, labels.shape[1]))
    for j in range(codes.latent_size):
        mean, scale = codes.means[:, j], codes.scales[:, j]
        grid = np.linspace((mean - 9 * scale).min(), (mean + 9 * scale).max(), 4001)
        density = norm.pdf(grid, mean[:, None], scale[:, None])
        whole = density.mean(0)
        for k, column in enumerate(labels.T):
            for value in np.unique(column):
                part = density[column == value].mean(0)
                terms = np.where(
                    part > 0, part * np.log(np.maximum(part, 1e-300) / np.maximum(whole, 1e-300)), 0
                )
                found[j, k] += (column == value).mean() * np.trapezoid(terms, grid)
    return found


@pytest.mark.parametrize(
    ("means", "scale", "expected"),
    [(GRID, 0.05, 1.0), (GRID @ ROTATION, 0.05, 0.0), (GRID, 0.5, 0.6097)],
)
def test_oracles(means, scale, expected):
    found = mig(coded(means, scale), GRID)
    np.testing.assert_allclose(found.gaps, expected, atol=5e-4)
    assert (np.abs(found.gaps - expected) < found.errors + 5e-5).all()  # the oracle has four digits


def test_a_rotated_code_tells_half_in_each_latent():
    found = mig(coded(GRID @ ROTATION, 0.05), GRID).information
    np.testing.assert_allclose(found.values / found.entropies, 0.3278, atol=5e-5)


def test_information_is_the_quadratures_from_below():
    codes, labels = some()
    found = mutual_information(codes, read_factors(labels))
    exact = by_quadrature(codes, labels)
    assert (found.values < exact + 4e-6).all()
    assert (exact < found.values + found.errors).all()
    np.testing.assert_allclose(found.values, exact, atol=1e-3)


def test_finer_cells_only_raise_it():
    codes, labels = some()
    values = [mutual_information(codes, read_factors(labels), n_cells=n).values for n in (8, 64, 512)]
    assert (values[0] <= values[1] + 1e-6).all()
    assert (values[1] <= values[2] + 1e-6).all()


def test_invariances():
    codes, labels = some()
    gaps = mig(codes, labels).gaps
    order = [2, 0, 1]
    same = {
        "latents in another order": (Codes(codes.means[:, order], codes.scales[:, order]), labels),
        "another unit, sign and place": (
            Codes(codes.means * [1e6, -2, 1e-6] + [1, 1e5, 3], codes.scales * [1e6, 2, 1e-6]),
            labels,
        ),
        "all twice": (
            Codes(np.tile(codes.means, (2, 1)), np.tile(codes.scales, (2, 1))),
            np.tile(labels, (2, 1)),
        ),
        "classes renamed": (codes, np.array(["c", "a", "e", "b", "d"])[labels]),
        "a latent of noise": (
            Codes(np.c_[codes.means, np.zeros(600)], np.c_[codes.scales, np.ones(600)]),
            labels,
        ),
    }
    for what, arguments in same.items():
        np.testing.assert_allclose(mig(*arguments).gaps, gaps, atol=1e-3, err_msg=what)


def test_weights_are_repetitions():
    codes, labels = some(80)
    times = np.arange(80) % 3
    weighted = mig(Codes(codes.means, codes.scales, weights=times), labels)
    rows = np.repeat(np.arange(80), times)
    repeated = mig(Codes(codes.means[rows], codes.scales[rows]), labels[rows])
    np.testing.assert_allclose(weighted.gaps, repeated.gaps, atol=2e-3)
    np.testing.assert_allclose(weighted.information.entropies, repeated.information.entropies)


def test_a_latent_twice_leaves_no_gap():
    codes, labels = some()
    twice = Codes(np.c_[codes.means, codes.means], np.c_[codes.scales, codes.scales])
    np.testing.assert_allclose(mig(twice, labels).gaps, 0, atol=1e-6)


def test_codes_far_away_do_not_hide_the_others():
    codes, labels = some()
    means = codes.means.copy()
    means[0, 0] = 1e4
    np.testing.assert_allclose(
        mig(Codes(means, codes.scales), labels).gaps, mig(codes, labels).gaps, atol=0.01
    )


def test_tables_and_continuous_factors():
    codes, labels = some()
    angle = labels[:, 0] + np.random.default_rng(1).uniform(size=600)
    table = pd.DataFrame({"angle": angle, "kind": pd.Categorical(np.array(["x", "y", "z"])[labels[:, 1]])})
    found = mig(codes, table, bins={"angle": 5})
    assert found.names == ("angle", "kind")
    np.testing.assert_allclose(found.information.entropies[0], np.log(5), rtol=1e-3)
    assert "angle" in str(found)
    assert list(found.table()["most in latent"]) == [0, 1]


@pytest.mark.parametrize(
    ("factors", "options", "message"),
    [
        (np.linspace(0, 1, 600), {}, r"600 values in 600 rows, .*bins=\{'factor 0': 20\}"),
        (np.zeros(600), {}, "the same value, 0.0, in every row"),
        (np.arange(600) // 1.5, {}, "400 values in 600 rows, too few rows for each"),
        (np.zeros((10, 2)), {}, "same value|600 codes and 10 rows"),
        (np.arange(10) % 2, {}, "600 codes and 10 rows"),
        (np.arange(600) % 2, {"names": ["a", "b"]}, "1 different names"),
        (np.arange(600) % 2, {"bins": {"a": 3}}, "bins names a, and the factors are factor 0"),
        ({"a": ["x", None] * 300}, {}, "no value at example 1"),
        (np.arange(600) % 2, {"n_cells": 13}, "multiple of 4, got 13"),
    ],
)
def test_bad_factors_are_named(factors, options, message):
    with pytest.raises((ArgumentError, DataError), match=message):
        mig(some()[0], factors, **options)


def test_one_latent_has_no_gap():
    with pytest.raises(ArgumentError, match="these codes have one"):
        mig(coded(np.zeros((4, 1)), 1.0), [0, 0, 1, 1])


def test_a_value_that_fills_a_bin_has_it_alone():
    zeros = np.r_[np.zeros(600), np.random.default_rng(0).uniform(0.1, 1, 400)]
    for sign in (1, -1):
        assert sorted(np.bincount(read_factors(sign * zeros, bins={"factor 0": 4}).labels[:, 0])) == [
            150,
            250,
            600,
        ]
        assert sorted(np.bincount(read_factors(sign * zeros, bins={"factor 0": 2}).labels[:, 0])) == [
            400,
            600,
        ]


@pytest.mark.parametrize("scale", [0.1, 0.01, 0.001, 1e-6])
def test_errors_cover_what_cells_cannot_resolve(scale):
    """Other than halving shows: two codes of each value pair, further apart than they are wide."""
    rng = np.random.default_rng(0)
    labels = np.c_[rng.integers(0, 5, 400), rng.integers(0, 3, 400)]
    codes = coded(labels + 0.4 * rng.normal(size=(400, 2)), scale)
    coarse, fine = (mig(codes, labels, n_cells=n) for n in (64, 4096))
    assert (np.abs(coarse.gaps - fine.gaps) < coarse.errors + fine.errors).all()


def test_the_last_word_is_that_a_narrow_code_tells_everything():
    labels = np.random.default_rng(0).integers(0, 3, (3000, 2))
    codes = coded(np.random.default_rng(1).normal(size=(3000, 2)), 1e-9)
    found = mutual_information(codes, read_factors(labels))
    assert (found.values + found.errors > 0.999 * found.entropies).all()


@pytest.mark.parametrize("place", [1e7, 1e12, 1e300])
def test_one_code_far_away_leaves_the_others_their_digits(place):
    codes, labels = some(60)
    means = codes.means.copy()
    means[-1] = place
    near = means.copy()
    near[-1] = 1e3
    far, reference = (mig(Codes(own, codes.scales), labels) for own in (means, near))
    assert (np.abs(far.gaps - reference.gaps) < far.errors + reference.errors).all()
    assert (far.errors < 0.02).all()


def test_a_factor_that_weights_leave_one_value_of_is_named():
    codes, labels = some(80)
    with pytest.raises(DataError, match="'factor 1' has one value among examples of weight above 0"):
        mig(Codes(codes.means, codes.scales, weights=labels[:, 1] == 0), labels)


def test_weights_of_any_size():
    codes, labels = some(80)
    large = Codes(codes.means, codes.scales, weights=np.full(80, 1e308))
    np.testing.assert_allclose(mig(large, labels).gaps, mig(codes, labels).gaps, rtol=1e-6)
