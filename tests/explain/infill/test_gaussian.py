"""Against the dense Schur complement, in double precision."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backthrough.core import ArgumentError
from backthrough.explain.infill import GaussianConditional, check_infiller

RNG = np.random.default_rng(1)
SIZE = 6
MIX = RNG.normal(size=(SIZE, SIZE))
X = RNG.normal(size=(400, SIZE)) @ MIX + 10 * RNG.normal(size=SIZE)
MEAN, COVARIANCE = X.mean(0), np.cov(X.T, bias=True)
KEY = jax.random.key(0)
MASKS = [np.array(list(f"{bits:06b}")) == "1" for bits in (0b000000, 0b100110, 0b011111, 0b111111)]
FITTED, MEANS = GaussianConditional.fit(X), GaussianConditional.fit(X, draws=False)


@eqx.filter_jit
def draw(infiller, x, mask, key, n_samples):
    return infiller.sample(x, mask, key=key, n_samples=n_samples)


def schur(x, kept):
    """Conditional mean and covariance of hidden features."""
    k, h = np.flatnonzero(kept), np.flatnonzero(~kept)
    weights = np.linalg.solve(COVARIANCE[np.ix_(k, k)], COVARIANCE[np.ix_(k, h)]).T
    mean = MEAN[h] + weights @ (x[k] - MEAN[k])
    return mean, COVARIANCE[np.ix_(h, h)] - weights @ COVARIANCE[np.ix_(k, h)]


@pytest.mark.parametrize("mask", MASKS)
def test_conditional_means_are_those_of_the_schur_complement(mask):
    x = X[3].astype(np.float32)
    found = np.asarray(draw(MEANS, jnp.asarray(x), jnp.asarray(mask), KEY, 2))
    np.testing.assert_array_equal(found[:, mask], np.broadcast_to(x[mask], (2, mask.sum())))
    expected, _ = schur(x, mask)
    np.testing.assert_allclose(found[0][~mask], expected, atol=2e-3 * X.std())


@pytest.mark.parametrize("mask", MASKS[:3])
def test_draws_have_mean_and_covariance_of_the_schur_complement(mask):
    n = 40_000
    x = X[3].astype(np.float32)
    found = np.asarray(draw(FITTED, jnp.asarray(x), jnp.asarray(mask), KEY, n), np.float64)[:, ~mask]
    mean, covariance = schur(x, mask)
    white = (found - mean) @ np.linalg.inv(np.linalg.cholesky(covariance)).T
    limit = 6.5  # standard errors: 27 numbers, false alarm below 1e-8
    assert np.abs(white.mean(0)).max() < limit / n**0.5 + 5e-3
    second = white.T @ white / n - np.eye(white.shape[1])
    assert np.abs(second).max() < limit * (2 / n) ** 0.5 + 1e-2


def test_a_copy_is_filled_in_with_what_it_is_a_copy_of():
    rows = np.hstack([X[:, :2], X[:, :1], 0 * X[:, :1] + 4])
    infiller = GaussianConditional.fit(rows)
    x = jnp.asarray(rows[5], jnp.float32)
    mask = jnp.array([False, True, True, False])
    found = np.asarray(draw(infiller, x, mask, KEY, 100))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[:, 0], rows[5, 0], atol=0.02 * rows[:, 0].std())
    check_infiller(infiller, rows[:2].astype(np.float32), key=KEY)


def test_more_features_than_examples_and_shapes_of_their_own():
    rows = RNG.normal(size=(10, 5, 4))
    infiller = GaussianConditional.fit(rows)
    assert 0 < infiller.shrinkage < 0.01
    check_infiller(infiller, rows[:2].astype(np.float32), key=KEY, n_masks=3)
    plain = GaussianConditional.fit(rows, shrinkage=1.0, draws=False)
    found = draw(plain, jnp.asarray(rows[0], jnp.float32), jnp.asarray(rows[1] > 0), KEY, 1)[0]
    hidden = rows[1] <= 0
    np.testing.assert_allclose(np.asarray(found)[hidden], rows.mean(0)[hidden], atol=1e-5)
    with pytest.raises(ArgumentError, match=r"shrinkage must lie in \[0, 1\], got 2"):
        GaussianConditional.fit(rows, shrinkage=2.0)
