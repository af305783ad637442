"""The forecast of a user's own series: its windows, its naive rivals, the command."""

import json

import numpy as np
import pandas as pd
import pytest

from backthrough.cli.main import main
from backthrough.core import ArgumentError, DataError
from backthrough.datasets import SeriesTable
from backthrough.recipes import forecast, windows

TINY = ["--n-steps=4", "--hidden-size=4", "--latent-size=2", "--n-draws=20", "--batch-size=4"]


def table(*lengths):
    times = tuple(np.cumsum(1.0 + np.arange(n) % 3) for n in lengths)
    values = tuple(np.stack([3 * t - 5, np.full(len(t), 7.0)], axis=1) for t in times)
    return SeriesTable(("line", "flat"), tuple("abc"[: len(lengths)]), times, values, False, "t.csv")


def test_no_window_to_train_on_reaches_the_held_out_rows():
    own = table(40, 25)
    context, horizon = windows.sizes(own, 0, 0)
    assert (context, horizon) == (6, 2)
    cut = windows.cut(own, context, horizon)
    assert len(cut) == sum(n - horizon - (context + horizon) + 1 for n in (40, 25))
    last = max(window.times[-1] for window in cut)
    assert last == own.times[0][-horizon - 1]
    held, ahead = windows.forecast_windows(own, context, horizon)
    np.testing.assert_array_equal(held[1].times[context:], own.times[1][-horizon:])
    np.testing.assert_array_equal(ahead[0].times[:context], own.times[0][-context:])
    np.testing.assert_allclose(np.diff(ahead[0].times[context - 1 :]), np.median(np.diff(own.times[0])))


def test_the_straight_line_is_what_a_line_forecasts():
    own = table(30)
    context, horizon = windows.sizes(own, 5, 4)
    held, _ = windows.forecast_windows(own, context, horizon)
    scale = windows.measure_scale(windows.cut(own, context, 4), context)
    guesses = forecast.naive(held, scale, context)
    np.testing.assert_allclose(guesses["line"][0], held[0].values[context:], atol=1e-9)
    np.testing.assert_allclose(guesses["last value"][0, :, 0], held[0].values[context - 1, 0])
    np.testing.assert_allclose(guesses["mean"][0, :, 0], held[0].values[:context, 0].mean())
    gap = windows.Window(held[0].times, held[0].values.copy())
    gap.values[:context, 0] = np.nan  # nothing to go by: the level of the series
    for guess in forecast.naive([gap], scale, context).values():
        np.testing.assert_allclose(guess[0, :, 0], scale.level[0])


def test_scaled_windows_are_centred_and_of_spread_one():
    own = table(40)
    cut = windows.cut(own, 6, 2)
    scale = windows.measure_scale(cut, 6)
    batch = windows.stack(cut, scale, 6)
    np.testing.assert_allclose(batch.values[:, :6].mean(1), 0, atol=1e-5)
    np.testing.assert_allclose(np.square(batch.values[..., 0]).mean(), 1, rtol=1e-5)
    np.testing.assert_array_equal(batch.times[:, 5], 0)
    assert scale.spread[1] == 1  # the flat column is left as it is


def test_too_few_rows_are_named():
    with pytest.raises(DataError, match=r"t.csv: series 'b' has 7 rows with a value; a forecast needs 8"):
        windows.sizes(table(20, 7), 0, 0)
    with pytest.raises(ArgumentError, match="a context of 5 and twice a horizon of 9 do not fit"):
        windows.sizes(table(20), 5, 9)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "series.csv"
    days = pd.date_range("2024-01-01", periods=40, freq="D")
    rows = [
        (f"{day:%Y-%m-%d}", who, 10 * k + np.sin(k / 3), "") for who in "ab" for k, day in enumerate(days)
    ]
    frame = pd.DataFrame(rows, columns=["day", "who", "level", "empty"])
    frame.loc[5:8, "level"] = np.nan
    frame.sample(frac=1, random_state=0).to_csv(path, index=False)
    return path


@pytest.mark.slow
def test_a_table_becomes_a_forecast_in_its_own_units_and_dates(file, tmp_path):
    run = tmp_path / "run"
    words = ["forecast", str(file), "--time", "day", "--series", "who", "--columns", "level"]
    assert main([*words, "--run-dir", str(run), *TINY]) == 0
    numbers = {n["name"]: n["value"] for n in json.loads((run / "result.json").read_text())["numbers"]}
    assert numbers["held-out error (line)"] < 3 < numbers["held-out error (last value)"] < 50
    assert 0 <= numbers["inside the band"] <= 1
    saved = pd.read_csv(run / "forecast.csv")
    assert set(saved.kind) == {"held out", "ahead"}
    assert list(saved[saved.kind == "ahead"].time.unique()[:2]) == ["2024-02-10", "2024-02-11"]
    assert ((saved.low <= saved.high) & saved.forecast.between(-1000, 1000)).all()
    assert (run / "figures" / "forecast.svg").exists()
    assert (run / "report.html").exists()


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ([], 2, "forecast needs a table and its time column"),
        (["--time", "date"], 2, "unknown time column"),
        (["--time", "day", "--columns", "level"], 1, "repeats the time"),
        (["--time", "day", "--series", "who", "--n-draws=0"], 2, "n_draws must be at least 1"),
        (["--time", "day", "--series", "who", "--columns", "empty"], 1, "has 0 rows with a value"),
    ],
)
def test_what_is_wrong_is_named(file, tmp_path, capsys, options, code, message):
    assert main(["forecast", str(file), "--run-dir", str(tmp_path / "run"), *options]) == code
    assert message in " ".join(capsys.readouterr().err.split())


def test_usage(capsys):
    assert main(["forecast", "--help"]) == 0
    assert main(["forecast"]) == 2
    assert "usage: backthrough forecast SERIES.csv" in capsys.readouterr().out
