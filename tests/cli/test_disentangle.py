import csv
import json
import re

import numpy as np
import pytest

from backthrough.cli.main import main

N = 400
RNG = np.random.default_rng(0)
LABELS = np.c_[RNG.integers(0, 3, N), RNG.integers(0, 2, N)]
ANGLE = RNG.uniform(0, 6, N)
MEANS = np.c_[LABELS[:, 0], ANGLE, 0.1 * RNG.normal(size=N)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("codes.npz", mu=MEANS.astype(np.float32), logvar=np.log(np.full(MEANS.shape, 0.01)))
    words = np.array(["round", "square", "star"])[LABELS[:, 0]]
    rows = [
        f"{word};{colour};{angle}" for word, colour, angle in zip(words, LABELS[:, 1], ANGLE, strict=True)
    ]
    (tmp_path / "factors.csv").write_text("\n".join(["shape;colour;angle", *rows]))
    return tmp_path


def disentangle(*words):
    return main(["disentangle", *map(str, words)])


def test_scores_of_files(folder, capsys):
    assert disentangle("codes.npz", "factors.csv", "--bins", "angle=6", "--run-dir", "run") == 0
    with open(folder / "run/scores.csv") as file:
        rows = {row["score"]: row for row in csv.DictReader(file)}
    assert float(rows["MIG"]["shape"]) > 0.95
    assert float(rows["MIG"]["colour"]) < 0.05
    assert float(rows["MIG"]["angle"]) > 0.8
    result = json.loads((folder / "run/result.json").read_text())
    assert {"MIG", "total correlation"} <= {number["name"] for number in result["numbers"]}
    assert "colour: in none" in result["headline"]["sentence"]
    assert (folder / "run/report.html").exists()
    assert "MIG, binned" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "needs CODES.npz and FACTORS.csv"),
        (("codes.npz", "factors.csv"), "bins={'angle': 20}"),
        (("codes.npz", "factors.csv", "--bins", "angle"), "NAME=NUMBER, such as angle=20"),
        (("codes.npz", "factors.csv", "--bins", "angel=5"), "angle"),
        (("other.npz", "factors.csv", "--factors", "shape"), r"must hold one array of means.*holds x \(3,\)"),
        (("spread.npz", "factors.csv", "--factors", "shape"), "holds spread, of the shape of the means"),
        (("codes.npz", "gap.csv"), "gap.csv line 3: factor 'shape' is missing"),
        (("codes.npz", "short.csv"), "400 rows and labels 4"),
        (("codes.npz", "bare.csv"), "bare.csv line 1 holds only numbers"),
        (("codes.npz", "codes.npz"), "codes.npz is a zip file .* and a table in CSV is needed"),
    ],
)
def test_wrong_use_is_named(folder, capsys, words, message):
    np.savez("other.npz", x=np.zeros(3))
    np.savez("spread.npz", mu=MEANS, spread=MEANS)
    (folder / "gap.csv").write_text("shape,colour\na,1\n,2\n")
    (folder / "bare.csv").write_text("0,1\n1,0\n")
    (folder / "short.csv").write_text("shape\na\nb\na\nb\n")
    assert disentangle(*words, *(["--run-dir", "run"] if words else [])) in (1, 2)
    assert re.search(message, capsys.readouterr().err)
