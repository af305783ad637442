"""The scores of FactorVAE and beta-VAE against plain loops, enumeration and chance."""

import jax.numpy as jnp
import numpy as np
import pytest

from backthrough.core import ArgumentError, DataError
from backthrough.latent.disentanglement.votes import _differences, _groups, beta_vae_score, factor_vae_score

RNG = np.random.default_rng(0)
GRID = np.indices((3, 4, 5, 6)).reshape(4, -1).T
MIXED = np.concatenate([GRID, GRID[:, :1]], 1) @ np.array(
    [[1, 0.5, 0, 0, 0], [0, 1, 0, 0, 1], [0, 0.5, 1, 0, 0], [0, 0, 0, 0.3, 1], [0, 0, 0, 0, 0.2]]
) + 2.5 * RNG.standard_normal((len(GRID), 5))
FEW = {"n_train": 2000, "n_test": 1000}


@pytest.mark.parametrize("score", [factor_vae_score, beta_vae_score])
@pytest.mark.parametrize("dtype", [np.float64, np.float16, jnp.bfloat16])
def test_a_perfect_code_is_right_always(score, dtype):
    """Beside noise and, for beta-VAE too, a constant latent; in any order of latents and rows."""
    codes = np.concatenate([GRID, 9 * RNG.standard_normal((360, 1)), np.full((360, 1), 0.1)], 1)
    codes = codes.astype(dtype)
    rows, order = RNG.permutation(360), [5, 2, 0, 4, 3, 1]
    for means, labels in ((codes, GRID), (codes[rows][:, order], GRID[rows])):
        found = score(means, labels, **FEW)
        np.testing.assert_array_equal(found.per_factor, 1)
        np.testing.assert_array_equal(found.train_per_factor, 1)
        assert found.mean == 1


def test_votes_are_those_of_the_plain_loop():
    """Each share of votes within 6 standard errors of both."""
    found = factor_vae_score(MIXED, GRID, n_train=8000, n_test=8000)
    rng, variances = np.random.RandomState(1), MIXED.var(0, ddof=1)
    n_loop, votes = 1500, np.zeros((5, 4))
    for k in range(4):
        for _ in range(n_loop):
            rows = np.flatnonzero(GRID[:, k] == GRID[rng.randint(360), k])
            votes[np.argmin(MIXED[rng.choice(rows, 64)].var(0, ddof=1) / variances), k] += 1
    assert found.votes.sum(0).tolist() == [2000] * 4
    p, q = found.votes / 2000, votes / n_loop
    pooled = (found.votes + votes) / (2000 + n_loop)
    assert (np.abs(p - q) <= 6 * np.sqrt(pooled * (1 - pooled) * (1 / 2000 + 1 / n_loop))).all()
    named = found.votes.argmax(1)
    accuracy = np.array([p[named == k, k].sum() for k in range(4)])
    np.testing.assert_allclose(found.train_per_factor, accuracy, rtol=1e-12)
    np.testing.assert_allclose(found.per_factor, accuracy, atol=6 * 0.5 * np.sqrt(2 / 2000))
    assert 0.4 < found.mean < 0.7  # a code on which votes differ


def test_pairs_are_two_rows_of_one_value():
    """The mean difference against that over all such pairs, by enumeration; and where there is one pair."""
    for k in range(4):
        found = _differences(MIXED, _groups(GRID[:, k], k), 500, 64, np.random.default_rng(k))
        same = (GRID[:, None, k] == GRID[None, :, k]) & ~np.eye(360, dtype=bool)
        pairs = np.abs(MIXED[:, None] - MIXED[None])[same]
        assert found.shape == (500, 5)
        error = pairs.std(0) / np.sqrt(500 * 64)
        assert (np.abs(found.mean(0) - pairs.mean(0)) < 6 * error).all()
    means = np.array([[1.0], [5.0], [11.0], [100.0]])
    found = _differences(means, _groups(np.array([0, 3, 0, 7]), 0), 20, 3, np.random.default_rng(0))
    np.testing.assert_array_equal(found, 10.0)  # values with one row are not drawn


def test_values_are_fixed_as_often_as_they_are_in_the_data():
    """Value 0 of factor 0 fixes latent 0, value 1 fixes latent 1; 9 rows in 10 have value 0."""
    labels = np.stack([np.arange(1000) % 10 == 0, np.arange(1000) // 500], 1).astype(int)
    means = RNG.standard_normal((1000, 3))
    means[:, 0] *= labels[:, 0] == 1
    means[:, 1] *= labels[:, 0] == 0
    found = factor_vae_score(means, labels, n_train=8000, n_test=1000)
    assert abs(found.votes[0, 0] / 4000 - 0.9) < 6 * np.sqrt(0.09 / 4000)
    assert found.votes[:2, 0].sum() == 4000


@pytest.mark.parametrize("score", [factor_vae_score, beta_vae_score])
def test_noise_is_right_by_chance(score):
    """1/4: 5,000 hits or misses, 6 standard errors; .03 for what a sample of rows knows by accident."""
    labels = np.stack([RNG.integers(0, 3, 20_000) for _ in range(4)], 1)
    found = score(RNG.standard_normal((20_000, 5)), labels)
    assert abs(found.mean - 0.25) < 6 * np.sqrt(0.25 * 0.75 / 5000) + 0.03


@pytest.mark.parametrize("score", [factor_vae_score, beta_vae_score])
def test_scale_does_not_matter(score):
    found, moved = (
        score(MIXED, GRID, **FEW),
        score(MIXED * [1e6, -1, 3, 1e5, 1] + [1e6, 0, 1, 0, 0], GRID, **FEW),
    )
    np.testing.assert_allclose(moved.per_factor, found.per_factor, atol=0.01)


def test_ties_do_not_go_to_the_first_latent():
    found = factor_vae_score(GRID[:, [0, 0, 1, 2, 3]].astype(float), GRID, **FEW)
    assert (found.votes[:2, 0] > 150).all()  # of 500, halves: 10 standard errors
    assert found.mean == 1


def test_latents_that_hardly_vary_have_no_vote():
    codes = np.concatenate([GRID, np.full((360, 1), 0.1), 0.04 * RNG.choice([-1, 1], (360, 1))], 1)
    found = factor_vae_score(codes, GRID, **FEW)
    assert found.is_active.tolist() == [True] * 4 + [False] * 2
    assert found.votes[4:].sum() == 0
    assert factor_vae_score(codes, GRID, min_std=0, **FEW).is_active.tolist() == [True] * 4 + [False, True]
    tiny = factor_vae_score(1e-6 * codes, GRID, **FEW)
    assert not tiny.is_active.any()
    assert tiny.mean == 0
    assert (tiny.per_factor == 0).all()
    assert factor_vae_score(1e-6 * codes, GRID, min_std=1e-8, **FEW).mean == 1


def test_large_codes_are_gathered_in_parts(monkeypatch):
    monkeypatch.setattr("backthrough.latent.disentanglement.votes.AT_ONCE", 2 * 64 * 4)
    for score in (factor_vae_score, beta_vae_score):
        np.testing.assert_array_equal(score(GRID.astype(float), GRID, n_train=103, n_test=51).per_factor, 1)


def test_what_is_refused():
    codes = GRID.astype(float)
    for score in (factor_vae_score, beta_vae_score):
        with pytest.raises(ArgumentError, match="needs two factors at least"):
            score(codes, GRID[:, :1])
        with pytest.raises(ArgumentError, match="n_test must be at least 4, got 3"):
            score(codes, GRID, n_test=3)
        with pytest.raises(DataError, match="factor 1 has 3 values and a row of each"):
            score(codes[:3], np.array([[0, 0], [0, 1], [1, 2]]))
    with pytest.raises(ArgumentError, match="batch_size must be at least 2"):
        factor_vae_score(codes, GRID, batch_size=1)
    with pytest.raises(ArgumentError, match="min_std must be finite and at least 0, got -1"):
        factor_vae_score(codes, GRID, min_std=-1)
