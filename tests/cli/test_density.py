import csv
import json

import numpy as np
import pytest

from backthrough.cli.main import main

TINY = ["--n-steps=6", "--hidden-size=4", "--n-draws=20", "--solver-steps=2", "--tolerance=1e-3"]


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "points.csv"
    rows = np.random.default_rng(0).normal(size=(60, 2)) * [10.0, 0.1] + [100.0, 0.0]
    np.savetxt(path, np.c_[rows, np.ones(60)], delimiter=",", header="wide,narrow,same", comments="")
    return path


def density(*words):
    return main(["density", *map(str, words)])


@pytest.mark.slow
def test_a_table_becomes_a_density_in_its_own_units(table, tmp_path, capsys):
    run = tmp_path / "run"
    assert density(table, "--columns", "wide", "narrow", "--run-dir", run, *TINY) == 0
    numbers = {n["name"]: n["value"] for n in json.loads((run / "result.json").read_text())["numbers"]}
    # log N of the true distribution, -log(2 pi e * 10 * 0.1): a Gaussian fitted to 48 rows comes near it
    assert numbers["log-likelihood of a Gaussian"] == pytest.approx(-np.log(2 * np.pi * np.e), abs=1.0)
    assert numbers["gain over a Gaussian"] == pytest.approx(
        numbers["log-likelihood"] - numbers["log-likelihood of a Gaussian"]
    )
    assert 0 <= numbers["error of the training's solver"] < 0.01  # barely trained, the field is smooth
    assert numbers["rows to train on"] == 48
    with open(run / "rows.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 60
    assert list(rows[0]) == ["wide", "narrow", "log density (nats)"]
    with open(run / "draws.csv") as file:
        draws = np.array([[float(cell) for cell in row.values()] for row in csv.DictReader(file)])
    assert draws.shape == (20, 2)
    assert 50 < draws[:, 0].mean() < 150
    assert (run / "report.html").exists()
    assert "Gaussian" in json.loads((run / "result.json").read_text())["headline"]["sentence"]
    words = ["--model", run / "model.npz", "--predict", table, "--out", tmp_path / "again.csv"]
    assert density(*words) == 0
    with open(tmp_path / "again.csv") as file:
        assert [row["log density (nats)"] for row in csv.DictReader(file)] == [
            row["log density (nats)"] for row in rows
        ]
    assert "log-likelihood" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ([], 1, "column 'same' has the same value in every row that is trained on"),
        (["--columns", "wdie"], 2, "did you mean 'wide'?"),
        (["--columns", "wide", "--batch-size=0"], 2, "batch_size must be at least 1"),
    ],
)
def test_what_is_wrong_with_a_table_is_named(table, tmp_path, capsys, options, code, message):
    assert density(table, "--run-dir", tmp_path / "run", *options) == code
    assert message in " ".join(capsys.readouterr().err.split())


def test_usage(tmp_path, capsys):
    with pytest.raises(SystemExit, match="0"):
        density("--help")
    assert "usage: backthrough density" in capsys.readouterr().out
    assert density() == 2
    assert "density needs a table: backthrough density TABLE.csv" in capsys.readouterr().err
    short = tmp_path / "short.csv"
    short.write_text("a\n1\n2\n")
    assert density(short, "--run-dir", tmp_path / "run") == 1
    assert "there are 2 rows; to fit and to measure a density takes 30" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
