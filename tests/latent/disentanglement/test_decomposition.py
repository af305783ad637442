import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backthrough.core import ArgumentError, DataError
from backthrough.latent import Codes, bernoulli_vae, tc_decomposition

CUBE = np.array(list(itertools.product([-1.0, 1.0], repeat=3)))


def test_closed_form():
    """Gaussian means: q(z) is Gaussian. Six standard errors of 3,000 draws and of 20,000 means."""
    covariance = np.array([[1, 0.8, 0], [0.8, 1, 0], [0, 0, 0.5]])
    noise = np.diag([0.5, 0.6, 0.8]) ** 2
    means = np.random.default_rng(0).multivariate_normal(np.zeros(3), covariance, 20_000)
    codes = Codes(means, np.broadcast_to([0.5, 0.6, 0.8], means.shape))
    report = tc_decomposition(codes, key=jax.random.key(0), n_samples=3000)
    whole = covariance + noise
    mi = 0.5 * np.linalg.slogdet(whole)[1] - 0.5 * np.linalg.slogdet(noise)[1]
    tc = 0.5 * np.log(np.diag(whole)).sum() - 0.5 * np.linalg.slogdet(whole)[1]
    dw = 0.5 * (np.diag(whole) - 1 - np.log(np.diag(whole))).sum()
    np.testing.assert_allclose((mi, tc, dw), (1.5218, 0.2362, 0.0442), atol=1e-4)
    assert abs(report.index_code_mi - mi) < 6 * report.index_code_mi_error + 0.03
    assert abs(report.total_correlation - tc) < 6 * report.total_correlation_error
    assert abs(report.dimension_wise_kl - dw) < 6 * report.dimension_wise_kl_error + 0.02
    assert report.index_code_mi_error < 0.05 > report.total_correlation_error


@pytest.mark.parametrize("unit", [1e-45, 1.0, 1e60])
@pytest.mark.parametrize(("scale", "shift"), [(1e-2, 0.0), (1e-5, 1e4)])
def test_narrow_codes_of_independent_bits(scale, shift, unit):
    """Corners of a cube: every draw has log q(z | n) - log q(z) = ln 8, and log q(z) is their sum."""
    codes = Codes((CUBE + shift) * unit, np.full(CUBE.shape, scale) * unit)
    report = tc_decomposition(codes, key=jax.random.key(1), n_samples=50)
    np.testing.assert_allclose(report.index_code_mi, np.log(8), rtol=1e-5)
    np.testing.assert_allclose(report.total_correlation, 0, atol=1e-4)
    assert report.index_code_mi_error < 1e-4


def test_weights_count_examples():
    """Corners where the first two bits agree twice as often as not: TC = ln 2 - H(agreement)."""
    weights = np.where(CUBE[:, 0] == CUBE[:, 1], 2.0, 1.0)
    codes = Codes(CUBE, np.full(CUBE.shape, 1e-2), weights=weights)
    report = tc_decomposition(codes, key=jax.random.key(2), n_samples=4000)
    agree = 2 / 3
    expected = np.log(2) + agree * np.log(agree) + (1 - agree) * np.log(1 - agree)
    assert abs(report.total_correlation - expected) < 6 * report.total_correlation_error
    none = tc_decomposition(
        Codes(np.r_[CUBE, CUBE + 5], np.full((16, 3), 1e-2), weights=np.r_[np.ones(8), np.zeros(8)]),
        key=jax.random.key(1),
        n_samples=50,
    )
    np.testing.assert_allclose(none.index_code_mi, np.log(8), rtol=1e-5)


def test_the_parts_add_up_to_the_kl():
    rng = np.random.default_rng(3)
    codes = Codes(rng.normal(size=(3000, 4)), np.exp(rng.normal(size=(3000, 4)) - 1))
    report = tc_decomposition(codes, key=jax.random.key(3), n_samples=2000)
    error = np.hypot(report.index_code_mi_error, report.dimension_wise_kl_error)
    total = report.index_code_mi + report.total_correlation + report.dimension_wise_kl
    assert abs(total - report.kl) < 6 * error
    np.testing.assert_allclose(report.of_latents.sum(), report.dimension_wise_kl, rtol=1e-6)
    assert "3,000 posteriors" in str(report)


def test_codes_of_an_encoder():
    _, encoder = bernoulli_vae(np.full(6, 0.5), latent_size=2, hidden_sizes=(5,), key=jax.random.key(0))
    x = np.eye(6)
    codes = Codes.encode(encoder, x, at_once=4)
    posterior = encoder(jnp.asarray(x[3]))
    np.testing.assert_allclose(codes.means[3], posterior.mean, rtol=1e-5)
    np.testing.assert_allclose(codes.scales[3], np.exp(posterior.log_scale), rtol=1e-5)


@pytest.mark.parametrize(
    ("means", "scales", "weights", "message"),
    [
        (np.zeros((3, 2)), np.zeros((3, 2)), None, "example 0, latent 0 has 0"),
        (np.zeros((3, 2)), np.ones((3, 1)), None, r"the shape of means, \(3, 2\), got \(3, 1\)"),
        (np.zeros(3), np.ones(3), None, r"\(example, latent\)"),
        (np.full((3, 2), np.nan), np.ones((3, 2)), None, "means must be finite"),
        (np.zeros((3, 2)), np.ones((3, 2)), [1, -1, 1], "example 1 has -1"),
        (np.zeros((3, 2)), np.ones((3, 2)), [0, 0, 0], "all zero"),
        (np.zeros((3, 2)), np.ones((3, 2)), [1, 1], r"\(3,\)"),
        (np.full((3, 2), "a"), np.ones((3, 2)), None, "must be real numbers"),
    ],
)
def test_bad_codes_are_named(means, scales, weights, message):
    with pytest.raises((ArgumentError, DataError), match=message):
        Codes(means, scales, weights=weights)
