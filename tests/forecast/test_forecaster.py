"""The forecaster: what it learns, the frames it takes and gives, and what it refuses."""

import numpy as np
import pandas as pd
import pytest

from backthrough.core import ArgumentError, DataError
from backthrough.forecast import Forecaster, series_of, shown_times

SMALL = {"n_steps": 2, "latent_size": 2, "hidden_size": 4, "n_draws": 20, "batch_size": 4, "random_state": 0}


def long_table(n=40):
    days = pd.date_range("2024-01-01", periods=n, freq="D")
    parts = [
        pd.DataFrame({"day": days, "who": who, "level": np.sin(np.arange(n) / 3) + shift, "load": 1.0})
        for who, shift in (("a", 0.0), ("b", 5.0))
    ]
    return pd.concat(parts).sample(frac=1, random_state=0)


@pytest.fixture(scope="module")
def fitted():
    return Forecaster(**SMALL).fit(long_table(), time="day", series="who", columns=["level"])


@pytest.mark.slow
def test_it_continues_a_wave_that_the_last_value_cannot():
    """A noiseless wave of twelve rows' length: forecast over ten rows it has never seen."""
    wave = np.sin(2 * np.pi * np.arange(150) / 12)
    model = Forecaster(horizon=10, context=24, n_steps=600, random_state=0).fit(wave[:130])
    assert model.score(wave[:140]) > 0.9
    found = model.predict(10)["column 0"].to_numpy()
    assert np.sqrt(np.mean((found - wave[130:140]) ** 2)) < 0.3
    band = model.predict_interval(10)
    wide = model.predict_interval(10, level=0.99)
    assert (wide["column 0 low"] < band["column 0 low"]).all()
    assert (wide["column 0 high"] > band["column 0 high"]).all()


def test_frames_in_frames_out(fitted):
    found = fitted.predict(3)
    assert list(found.columns) == ["who", "day", "level"]
    assert found.day[found.who == "a"].astype(str).tolist() == ["2024-02-10", "2024-02-11", "2024-02-12"]
    band = fitted.predict_interval(3)
    assert list(band.columns) == ["who", "day", "level low", "level high"]
    assert (band["level low"] < band["level high"]).all()
    assert len(fitted.predict()) == 2 * fitted.horizon_
    # a longer table is continued from its own end, and its other columns are not looked at
    longer = fitted.predict(2, long_table(44).drop(columns="load"))
    assert longer.day[longer.who == "b"].astype(str).tolist() == ["2024-02-14", "2024-02-15"]


def test_the_index_and_arrays_give_the_times():
    wave = np.sin(np.arange(30.0))
    hours = pd.date_range("2024-01-01", periods=30, freq="h")
    found = series_of(pd.DataFrame({"x": wave}, index=hours))
    assert found.dated
    np.testing.assert_allclose(np.diff(found.times[0]), 1 / 24)
    in_zone = series_of(pd.DataFrame({"x": wave}, index=hours.tz_localize("Europe/Zurich")))
    np.testing.assert_allclose(in_zone.times[0], found.times[0] - 1 / 24)  # UTC is an hour behind
    assert (shown_times(in_zone.times[0], in_zone) == hours.tz_localize("Europe/Zurich")).all()
    quick = pd.date_range("2024-01-01", periods=30, freq="100ms")
    table = series_of(pd.Series(wave, index=quick, name="x"))
    assert table.names == ("x",)
    assert (shown_times(table.times[0], table) == quick).all()
    days = pd.DataFrame({"day": [20240228, 20240229, 20240301], "x": 0.0})
    table = series_of(days, time="day")
    np.testing.assert_array_equal(np.diff(table.times[0]), 1)
    assert not series_of(days.assign(day=[20240228, 20240229, 20240230]), time="day").dated
    named = series_of(days.set_index("day"))
    assert (named.time, named.dated) == ("day", True)
    assert series_of(pd.DataFrame({0: [1.0, 2.0], 1: [3.0, 4.0]}), time="0").names == ("1",)
    gaps = Forecaster(**SMALL).fit(np.where(np.arange(30) % 7 == 3, np.nan, wave))
    found = gaps.predict(2)
    assert found.time.tolist() == [30.0, 31.0]
    assert np.isfinite(found["column 0"]).all()


def test_a_saved_forecaster_goes_on(fitted, tmp_path):
    fitted.save(tmp_path / "model.npz")
    again = Forecaster.load(tmp_path / "model.npz")
    pd.testing.assert_frame_equal(again.predict(4), fitted.predict(4))
    pd.testing.assert_frame_equal(
        again.predict_interval(table=long_table(45)), fitted.predict_interval(table=long_table(45))
    )
    assert again.get_params() == fitted.get_params()
    with pytest.raises(DataError, match="cannot read"):
        Forecaster.load(tmp_path / "absent.npz")


def test_the_score_is_against_the_last_value(fitted):
    """By hand from the forecasts that `evaluate` gives."""
    found = fitted.evaluate(long_table(44))
    truth, mean = found.truth[..., 0], found.bands.mean[..., 0]
    last = np.stack([window.values[fitted.context_ - 1] for window in found.windows])
    expected = 1 - np.mean((mean - truth) ** 2) / np.mean((last - truth) ** 2)
    assert fitted.score(long_table(44)) == pytest.approx(expected)


def test_what_is_wrong_is_named(fitted):
    own = long_table()
    for setting in ({"n_steps": 0}, {"horizon": -1}, {"tolerance": 0}):
        (name,) = setting
        with pytest.raises(ArgumentError, match=name):
            Forecaster(**{**SMALL, **setting}).fit(own, time="day", series="who")
    with pytest.raises(ArgumentError, match="unknown time column 'date'"):
        series_of(own, time="date")
    with pytest.raises(ArgumentError, match="must differ"):
        series_of(own, time="day", series="who", columns=["day"])
    with pytest.raises(DataError, match="series 'series' has one time twice, in rows"):
        series_of(own, time="day", columns=["level"])
    with pytest.raises(DataError, match="column 'who' does not hold numbers"):
        series_of(own[own.who == "a"], time="day")
    with pytest.raises(DataError, match="row 0 has no time"):
        series_of(own.assign(day=pd.NaT), time="day")
    with pytest.raises(DataError, match="times must be numbers, dates or ISO texts"):
        series_of(own.assign(day="soon"), time="day")
    with pytest.raises(DataError, match="column 'level' is infinite in row 0"):
        series_of(own.assign(level=np.inf), time="day", columns=["level"])
    with pytest.raises(DataError, match="column 'day' holds dates"):
        series_of(own)
    with pytest.raises(DataError, match="the table has no rows"):
        series_of(own[:0], time="day")
    with pytest.raises(ArgumentError, match="columns must be a sequence of names"):
        series_of(own, time="day", columns="level")
    with pytest.raises(DataError, match="names no series"):
        series_of(own.assign(who=None), time="day", series="who")
    with pytest.raises(DataError, match="column 'level' has no value at all"):
        Forecaster(**SMALL).fit(own.assign(level=np.nan), time="day", series="who")
    with pytest.raises(DataError, match="column 'level' has no value at all"):
        fitted.predict(table=own.assign(level=np.nan))
    with pytest.warns(UserWarning, match="a horizon of 9 rows goes beyond the 4"):
        fitted.predict(9)
    with pytest.raises(DataError, match=r"shape \(time,\) or \(time, column\)"):
        series_of(np.zeros((2, 3, 4)))
    with pytest.raises(ArgumentError, match="unknown column 'level'"):
        fitted.predict(table=own.rename(columns={"level": "height"}))
    with pytest.raises(DataError, match="has 5 rows"):
        fitted.predict(table=long_table(5))
    with pytest.raises(ArgumentError, match="level must lie between 0 and 1"):
        fitted.predict_interval(level=1)
    with pytest.raises(ArgumentError, match="horizon must be at least 1"):
        fitted.predict(0)
    with pytest.raises(DataError, match="the forecaster was fitted to level at dates"):
        fitted.predict(table=np.zeros(50))
