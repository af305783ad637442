"""Calibration against what is known of Gaussians."""

import jax.numpy as jnp
import numpy as np
import pytest
import scoringrules
from matplotlib.figure import Figure
from scipy.stats import norm

from backthrough.core import ArgumentError, DataError
from backthrough.natgrad import GaussianPredictive
from backthrough.regress import ClassPrediction, TargetPrediction, calibration, class_calibration

N = 700


def exact(n_rows=N, scale=2.0, says=None, seed=0):
    """Targets 10 + 3 z, which are N(10 + 3 mean, (3 scale)^2), and predictions that say `says` of scale."""
    random = np.random.default_rng(seed)
    means = random.normal(size=(1, n_rows, 1))
    y = 10 + 3 * (means[0, :, 0] + scale * random.normal(size=n_rows))
    scales = np.full((1, 1), scale if says is None else says)
    found = TargetPrediction(
        means.astype(np.float32), scales.astype(np.float32), np.array([10.0]), np.array([3.0]), True
    )
    return found, y


def test_an_exact_model_is_calibrated():
    found, y = exact()
    own = calibration(found, y)
    assert (np.abs(own.coverage - own.levels) < 3 * own.standard_error).all()
    np.testing.assert_allclose(own.width, 2 * 6 * norm.ppf(0.5 + own.levels / 2), rtol=1e-4)
    mean = found.mean
    np.testing.assert_allclose(own.pit, norm.cdf(y, mean, 6), atol=1e-5)
    np.testing.assert_allclose(own.log_prob, norm.logpdf(y, mean, 6), rtol=1e-4)
    np.testing.assert_allclose(own.crps, scoringrules.crps_normal(y, mean, 6.0), rtol=1e-5)
    assert own.rmse == pytest.approx(np.sqrt(np.mean((mean - y) ** 2)))
    assert {own.verdict(level) for level in own.levels} == {"as they should"}
    assert own.table().shape == (4, 4)
    axes = Figure().subplots()
    assert own.plot(axes) is axes


def test_what_is_too_sure_is_found_out():
    found, y = exact(says=1.0)
    assert "too narrow" in calibration(found, y).verdict(0.9)
    found, y = exact(says=4.0)
    assert "too wide" in calibration(found, y).verdict(0.9)


def test_draws_and_arrays_of_networks_say_the_same():
    """Two Gaussians a row, as a mixture in closed form and as 4,000 draws of it."""
    random = np.random.default_rng(1)
    means = random.normal(size=(2, 30, 2)).astype(np.float32)
    scales = np.array([[0.5, 1.0], [1.5, 0.2]], np.float32)
    y = random.normal(size=(30, 2))
    mixture = TargetPrediction(means, scales, np.zeros(2), np.ones(2), False)
    own = calibration(mixture, y)
    plain = calibration(GaussianPredictive(jnp.asarray(means), jnp.asarray(scales)), y)
    np.testing.assert_array_equal(plain.pit, own.pit)
    drawn = calibration(mixture.sample(4000, random_state=0), y)
    np.testing.assert_allclose(drawn.crps, own.crps, atol=0.05)
    np.testing.assert_allclose(drawn.pit, own.pit, atol=0.04)
    np.testing.assert_allclose(drawn.width, own.width, rtol=0.05)
    assert own.n_rows == 30
    assert np.isnan(drawn.log_prob).all()
    # the CRPS of a mixture is the integral of (F - [y <= x])^2 (Gneiting and Raftery 2007, eq. 20)
    grid = np.linspace(-12, 12, 20001)
    cdf = np.mean([norm.cdf(grid, means[k, 3, 0], scales[k, 0]) for k in range(2)], axis=0)
    first = np.trapezoid((cdf - (grid >= y[3, 0])) ** 2, grid)
    cdf = np.mean([norm.cdf(grid, means[k, 3, 1], scales[k, 1]) for k in range(2)], axis=0)
    second = np.trapezoid((cdf - (grid >= y[3, 1])) ** 2, grid)
    assert own.crps[3] == pytest.approx((first + second) / 2, abs=1e-3)


def test_the_probabilities_of_classes():
    """Rows whose class is drawn by the probabilities that are predicted."""
    random = np.random.default_rng(0)
    shares = random.dirichlet([1.0, 1.0, 1.0], size=5000)
    places = (random.random(5000)[:, None] > shares.cumsum(1)).sum(1)
    classes = np.array(["a", "b", "c"], dtype=object)
    found = ClassPrediction(classes, np.log(shares), np.zeros(5000))
    own = class_calibration(found, classes[places])
    assert (np.abs(own.frequency - own.confidence) < 4 * own.standard_error).all()
    assert own.expected_error < 0.03
    assert own.accuracy == pytest.approx(np.mean(shares.argmax(1) == places))
    assert own.brier.mean() == pytest.approx(np.mean(1 - np.sum(shares**2, axis=1)), abs=0.02)
    np.testing.assert_allclose(own.log_prob, np.log(shares[np.arange(5000), places]))
    assert own.table()["rows"].sum() == 5000
    sure = ClassPrediction(classes, np.log(np.full((10, 3), [0.9, 0.05, 0.05])), np.zeros(10))
    assert class_calibration(sure, ["b"] * 10).expected_error == pytest.approx(0.9)
    with pytest.raises(ArgumentError, match="class 'd' was not there in training"):
        class_calibration(sure, ["d"] * 10)
    axes = Figure().subplots()
    assert own.plot(axes) is axes


def test_wrong_arguments():
    found, y = exact(5)
    with pytest.raises(ArgumentError, match="levels must lie between 0 and 1"):
        calibration(found, y, levels=[1.0])
    with pytest.raises(ArgumentError, match=r"targets must have shape \(5,\), got \(5, 1\)"):
        calibration(found, y[:, None])
    with pytest.raises(DataError, match="the target of row 2 is not finite"):
        calibration(found, np.where(np.arange(5) == 2, np.nan, y))
    with pytest.raises(ArgumentError, match="draws must have shape"):
        calibration(np.zeros((3, 4)), y)
    with pytest.raises(ArgumentError, match="level must lie between"):
        found.interval(0.0)
