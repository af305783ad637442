"""The command that continues a user's own series."""

import json

import numpy as np
import pandas as pd
import pytest

from backthrough.cli.main import main

TINY = ["--n-steps=4", "--hidden-size=4", "--latent-size=2", "--n-draws=20", "--batch-size=4"]


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
    assert "so use that" in json.loads((run / "result.json").read_text())["headline"]["sentence"]
    new = tmp_path / "new.csv"
    pd.read_csv(file).query("who == 'b'").to_csv(new, index=False)
    words = ["forecast", "--model", str(run / "model.npz"), "--predict", str(new), "--horizon", "3"]
    assert main(words) == 0
    again = pd.read_csv(tmp_path / "new-forecast.csv")
    assert again.time.tolist() == ["2024-02-10", "2024-02-11", "2024-02-12"]
    before = saved[(saved.kind == "ahead") & (saved.series == "b")]
    np.testing.assert_allclose(again.forecast[:3], before.forecast[:3], rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ([], 2, "forecast needs the column of times: --time NAME"),
        (["--time", "day", "--series", "who", "--horizon", "40"], 2, "a horizon of 40 rows is too long"),
        (["--time", "date"], 2, "unknown time column"),
        (["--time", "day", "--columns", "level"], 1, "repeats the time"),
        (["--time", "day", "--series", "who", "--n-draws=0"], 2, "n_draws must be at least 1"),
        (["--time", "day", "--series", "who", "--columns", "empty"], 1, "has 0 rows with a value"),
    ],
)
def test_what_is_wrong_is_named(file, tmp_path, capsys, options, code, message):
    assert main(["forecast", str(file), "--run-dir", str(tmp_path / "run"), *options]) == code
    assert message in " ".join(capsys.readouterr().err.split())


def test_usage(tmp_path, capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["forecast", "--help"])
    assert "usage: backthrough forecast" in capsys.readouterr().out
    assert main(["forecast"]) == 2
    assert "forecast needs a table: backthrough forecast TABLE.csv" in capsys.readouterr().err
    assert main(["forecast", "no.csv", "--time", "t"]) == 2
    assert "there is no file 'no.csv'" in capsys.readouterr().err
    assert main(["forecast", "--model", "no.npz"]) == 2
    assert "new rows need a model and no table to train on" in capsys.readouterr().err
