"""The command that predicts a column of a user's own table."""

import json

import numpy as np
import pandas as pd
import pytest

from backthrough.cli.main import main

TINY = ["--n-epochs=2", "--hidden-sizes", "4", "--n-samples=5", "--method=noisy-adam"]


def regress(*words):
    return main(["regress", *map(str, words)])


@pytest.fixture
def table(tmp_path):
    """Sixty houses with everything that files have: a mark, semicolons, quotes, gaps, names of rows."""
    random = np.random.default_rng(0)
    lines = ["house;area;city;sold;price"]
    for i in range(60):
        area, city = f"{random.uniform(50, 150):.1f}", ["Ny", '"Bad; Ems"', ""][random.integers(3)]
        price = "" if i == 7 else f"{2 * float(area) + random.normal():.2f}"
        lines.append(f"no {i};{'' if i % 9 == 4 else area};{city};{['yes', 'no'][i % 2]};{price}")
    path = tmp_path / "houses.csv"
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode() + b"\r\n\r\n")
    return path


@pytest.mark.filterwarnings("default")
def test_a_table_becomes_predictions_with_intervals(table, tmp_path, capsys):
    run, new = tmp_path / "run", tmp_path / "new.csv"
    new.write_text("city,price,area,sold,extra\nNy,,90,yes,x\nOslo,,,no,y\n")
    words = [table, "--target", "price", "--run-dir", run, "--predict", new, *TINY]
    assert regress(*words) == 0
    said = capsys.readouterr()
    assert (
        "regression of 'price', since it has 59 different numbers (--task says otherwise); 1 rows have no"
        in said.err
    )
    assert "column 'house' is left out" in said.err
    assert "1 of 2 rows have a level that was not there in training (Oslo)" in said.err
    result = json.loads((run / "result.json").read_text())
    numbers = {number["name"]: number["value"] for number in result["numbers"]}
    assert numbers["RMSE (linear model)"] < numbers["RMSE (mean)"]
    assert numbers["rows to train on"] == 48
    assert numbers["rows without a target"] == 1
    (decided,) = result["tables"]
    assert [row[0] for row in decided["rows"]] == ["price", "house", "area", "city", "sold"]
    assert "Predictions of price are off by" in result["headline"]["sentence"]
    page = (run / "report.html").read_text()
    assert "What was made of the columns (4)" in page
    assert "it names them, and tells nothing of others" in page
    held = pd.read_csv(run / "predictions.csv")
    assert len(held) == 11
    assert 9 not in set(held["line"])  # the row without a target
    original = pd.read_csv(table, sep=";")["price"].to_numpy()
    np.testing.assert_array_equal(held["price"], original[held["line"] - 2])
    assert (held["price low 90 %"] < held["price high 90 %"]).all()
    first = pd.read_csv(tmp_path / "new-regress.csv")
    assert list(first.columns[:5]) == ["city", "price", "area", "sold", "extra"]
    words = ["--model", run / "model.npz", "--predict", new, "--out", tmp_path / "again.csv"]
    assert regress(*words) == 0
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "again.csv"), first)
    before = (run / "result.json").read_bytes()
    assert regress("--run-dir", run, "--resume") == 0
    assert (run / "result.json").read_bytes() == before


@pytest.mark.filterwarnings("default")
def test_classes_are_told_by_the_target(table, tmp_path, capsys):
    run = tmp_path / "run"
    assert regress(table, "--target", "sold", "--columns", "area", "city", "--run-dir", run, *TINY) == 0
    assert "classification of 'sold', since its cells are text" in capsys.readouterr().err
    held = pd.read_csv(run / "predictions.csv")
    np.testing.assert_allclose(held["P(sold = no)"] + held["P(sold = yes)"], 1)
    sentence = json.loads((run / "result.json").read_text())["headline"]["sentence"]
    assert "Classes of sold are right in" in sentence
    words = ["--model", run / "model.npz", "--predict", table, "--out", tmp_path / "again.csv"]
    assert regress(*words) == 0
    again = pd.read_csv(tmp_path / "again.csv")
    assert len(again) == 60
    np.testing.assert_allclose(again["P(sold = no)"][held["line"] - 2], held["P(sold = no)"])


@pytest.mark.parametrize(
    ("content", "options", "code", "message"),
    [
        ("a,b\n1,2\n", [], 2, "regress needs the column to predict: --target NAME"),
        ("a,b\n1,2\n", ["--target=c"], 2, "unknown target of"),
        ("a,b\n1,2\n", ["--target=b", "--categories", "c"], 2, "unknown column of"),
        ("a,b\n1,2\n", ["--target=b", "--columns", "b"], 2, "target 'b' cannot be predicted by itself"),
        ("a,b\n1,2\n", ["--target=b", "--n-epochs=0"], 2, "n_epochs must be at least 1, got 0"),
        ("a,b\n1,2\n", ["--target=b", "--out=x.csv"], 2, "it needs --predict NEW.csv"),
        ("a,b\n1,2\n", ["--target=b", "--predict=no.csv"], 2, "there is no file 'no.csv' (--predict)"),
        ("a,b\n1,2\n", ["--target=b"], 1, "there are 1 rows with a target"),
        ("b\n1\n", ["--target=b"], 1, "has no column besides the target 'b'"),
        ("a,b\n" + "1,2\n" * 12, ["--target=b"], 1, "target 'b' has the same value in every row"),
        (
            'a,b\n1,"1,234"\n' + "1,2\n" * 12,
            ["--target=b"],
            1,
            "line 2, column 'b' is not a number: '1,234'; n",
        ),
        (
            "a;b\n" + "1,5;2\n2,5;3\n" * 6,
            ["--target=b"],
            1,
            "line 2, column 'a' is not a number: '1,5'; numbers",
        ),
        (
            "a,b\n" + "1,2\n" * 12 + "four,3\n",
            ["--target=b"],
            1,
            "line 14, column 'a' is not a number: 'four'; m",
        ),
        ("a,b\n" + "inf,2\n" * 12, ["--target=b"], 1, "line 2, column 'a' is not finite: 'inf'"),
        ("a,a\n1,2\n", ["--target=a"], 1, "column name 'a' occurs twice"),
        ("a,b\n1,2\n1\n", ["--target=b"], 1, "line 3 has 1 cells, but the header has 2 columns"),
        ("a,b\n1,2\n\n3,4\n", ["--target=b"], 1, "line 3 is blank"),
        (
            "a,b\n" + "".join(f"{i},x{i}\n" for i in range(20)),
            ["--target=b"],
            1,
            "20 classes in 20 rows, too many",
        ),
        (
            "a,b\n" + "".join(f"{i},x{i % 3}\n" for i in range(20)),
            ["--target=b", "--task=regression"],
            1,
            "line 2, column 'b' is not a number: 'x0'",
        ),
        (
            "a,b\n" + "".join(f"1,{i}\n" for i in range(20)),
            ["--target=b"],
            1,
            "no column is left to predict by",
        ),
    ],
)
@pytest.mark.filterwarnings("default")
def test_what_is_wrong_is_named(tmp_path, capsys, content, options, code, message):
    path = tmp_path / "table.csv"
    path.write_text(content)
    assert regress(path, "--run-dir", tmp_path / "run", *options) == code
    said = " ".join(capsys.readouterr().err.split())
    assert message in said
    assert not (tmp_path / "run").exists()


def test_usage(tmp_path, capsys):
    with pytest.raises(SystemExit, match="0"):
        regress("--help")
    assert "usage: backthrough regress" in capsys.readouterr().out
    assert regress() == 2
    assert "regress needs a table: backthrough regress TABLE.csv" in capsys.readouterr().err
    assert regress("--model", "no.npz", "--predict", "new.csv") == 2
    assert "there is no file 'no.npz' (--model)" in capsys.readouterr().err
    assert regress("--predict", "new.csv") == 2
    assert "new rows need a model and no table to train on" in capsys.readouterr().err
