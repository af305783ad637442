"""The density of a table: against the density that the rows were drawn from, and as scikit-learn has it."""

import jax
import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal
from sklearn.utils.estimator_checks import check_estimator

from backthrough.core import ArgumentError, DataError
from backthrough.density import FlowDensity, compare_with_gaussian, flow_density, headline, split_rows
from backthrough.density.training import make_field

SMALL = {"hidden_size": 4, "n_steps": 2, "solver_steps": 1, "tolerance": 1e-3, "random_state": 0}
TRUE = multivariate_normal([100.0, 0.0], [[100.0, 0.6], [0.6, 0.01]])


@pytest.fixture(scope="module")
def table():
    rows = TRUE.rvs(200, random_state=0)
    return pd.DataFrame(rows, columns=["wide", "narrow"], index=range(1000, 1200))


@pytest.fixture(scope="module")
def fitted(table):
    return FlowDensity(**SMALL).fit(table)


@pytest.mark.slow
def test_it_learns_the_density_that_the_rows_come_from():
    """600 rows of a correlated Gaussian: fresh rows come within 0.1 nats of their true log-density."""
    rows = TRUE.rvs(700, random_state=1)
    model = FlowDensity(hidden_size=16, n_steps=400, random_state=0).fit(rows[:600])
    found = model.score_samples(rows[600:])
    assert np.mean(TRUE.logpdf(rows[600:]) - found) < 0.1
    assert model.score(rows[600:]) == pytest.approx(found.mean())
    draws = model.sample(2000)
    # standard errors of mean and standard deviation of 2,000 draws: 1/45 and 1/63 of the deviation
    np.testing.assert_allclose((draws.mean(0) - TRUE.mean) / np.sqrt(np.diag(TRUE.cov)), 0, atol=0.2)
    np.testing.assert_allclose(draws.std(0) / np.sqrt(np.diag(TRUE.cov)), 1, atol=0.2)


def test_log_densities_integrate_to_one(fitted, table):
    """On a grid over eight standard deviations, in the units of the table."""
    across = np.linspace(-8, 8, 81)
    scale = fitted.scale_
    points = np.stack(np.meshgrid(across, across), -1).reshape(-1, 2) * scale + fitted.mean_
    grid = pd.DataFrame(points, columns=table.columns)
    mass = np.exp(fitted.score_samples(grid)).sum() * (0.2**2 * scale.prod())
    assert mass == pytest.approx(1, abs=2e-3)


def test_frames_come_back_as_frames(fitted, table):
    scores = fitted.score_samples(table[:5])
    assert scores.index.tolist() == [1000, 1001, 1002, 1003, 1004]
    assert (fitted.score_samples(table)[:5] == scores).all()  # a row's figure is its own, bit for bit
    draws = fitted.sample(3)
    assert list(draws.columns) == ["wide", "narrow"]
    pd.testing.assert_frame_equal(draws, fitted.sample(3))
    with pytest.raises(DataError, match=r"row 1 is 1e\+\d+ standard deviations from the mean"):
        fitted.score_samples(pd.DataFrame([[100.0, 0.0], [1e300, 0.0]], columns=table.columns))
    assert not draws.equals(fitted.sample(3, random_state=1))
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.score_samples(table[["narrow", "wide"]])


def test_a_saved_model_scores_new_rows(fitted, table, tmp_path):
    fitted.save(tmp_path / "model.npz")
    again = FlowDensity.load(tmp_path / "model.npz")
    assert again.get_params() == fitted.get_params()
    pd.testing.assert_series_equal(again.score_samples(table), fitted.score_samples(table))
    pd.testing.assert_frame_equal(again.sample(2), fitted.sample(2))
    content = bytearray((tmp_path / "model.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "damaged.npz").write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        FlowDensity.load(tmp_path / "damaged.npz")
    with pytest.raises(DataError, match="cannot read"):
        FlowDensity.load(tmp_path / "absent.npz")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(DataError, match="holds no model of backthrough"):
        FlowDensity.load(tmp_path / "other.npz")


def test_what_is_wrong_is_named(table):
    for setting in ({"n_steps": 0}, {"hidden_size": 0}, {"tolerance": -1}, {"validation_fraction": 1}):
        (name,) = setting
        with pytest.raises(ArgumentError, match=name):
            FlowDensity(**{**SMALL, **setting}).fit(table)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="random_state must be"):
        FlowDensity(random_state="zero").fit(table)
    with pytest.raises(DataError, match="column 'same' has the same value in every row that is trained on"):
        FlowDensity(**SMALL).fit(table.assign(same=1.0))
    with pytest.raises(DataError, match="column 'wide' is too large to be squared"):
        FlowDensity(**SMALL).fit(table * [1e200, 1.0])
    with pytest.raises(ValueError, match="NaN"):
        FlowDensity(**SMALL).fit(table.assign(gap=np.nan))
    with pytest.raises(DataError, match="there are 29 rows"):
        split_rows(table[:29], seed=0)


def test_parts_hold_every_row_once(table):
    parts = split_rows(table, seed=3)
    assert [len(part) for part in parts] == [160, 20, 20]
    assert sorted(np.concatenate([part.index for part in parts])) == list(table.index)


def test_the_gaussian_it_is_compared_with(table):
    """Against SciPy's density of the same fitted Gaussian."""
    rows = table.to_numpy()
    own = multivariate_normal(rows[:150].mean(0), np.cov(rows[:150].T)).logpdf(rows[150:])
    numbers = {n.name: n for n in compare_with_gaussian(rows[:150], rows[150:], own + 0.5)}
    assert numbers["log-likelihood of a Gaussian"].value == pytest.approx(own.mean())
    assert numbers["gain over a Gaussian"].value == pytest.approx(0.5)
    assert "are 0.500 nats a row more likely" in headline(list(numbers.values())).sentence
    assert "has found shape" in headline(list(numbers.values())).sentence
    worse = headline(compare_with_gaussian(rows[:150], rows[150:], own - 0.5))
    assert "less likely" in worse.sentence
    assert "use the Gaussian" in worse.sentence


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learn_takes_it_for_one_of_its_own(monkeypatch):
    """With fields that are not trained: of some fifty fits each would compile programs of its own."""

    def untrained(rows, valid, *, key, hidden_size, **settings):
        return make_field(rows.shape[1], hidden_size, key=key)

    monkeypatch.setattr(flow_density, "train_field", untrained)
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        check_estimator(FlowDensity(**SMALL))
    finally:
        jax.config.update("jax_disable_most_optimizations", False)
