"""The command that explains one's own inputs by one's own model."""

import json
import sys

import numpy as np
import pytest
from PIL import Image

from backthrough.cli.main import main
from backthrough.explain.infill import Constant, Mean, save_infiller

MODELS = """
import jax.numpy as jnp
import numpy as np

from backthrough.explain import NumpyModel

WEIGHTS = np.zeros((8, 8, 3), np.float32)
WEIGHTS[2:4, 4:6] = 1.0


def bright(x):
    return jnp.stack([6.0, jnp.vdot(x, WEIGHTS)])


def picture():
    return bright


def rows():
    return NumpyModel(lambda rows: np.stack([np.zeros(len(rows)), rows @ [2.0, -1.0, 3.0]], axis=1), "logits")


def first():
    def call(x):
        brightness = (np.moveaxis(x, 1, -1) * WEIGHTS).sum((1, 2, 3))
        return np.stack([np.full(len(x), 6.0), brightness], axis=1)

    return NumpyModel(call, "logits")


def probabilities():
    return lambda x: jnp.array([0.3, 0.7])


def breaks():
    return NumpyModel(lambda rows: missing)


def nothing():
    return 3


def two(a, b):
    return a
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "my_models.py").write_text(MODELS)
    (tmp_path / "rows.csv").write_text("a,b,c\n1,1,1\n1.5,-2,0.2\n")
    (tmp_path / "text.csv").write_text("a,b\n1,one\n")
    picture = np.full((8, 8, 3), 30, np.uint8)
    picture[2:4, 4:6] = 255
    Image.fromarray(picture).save(tmp_path / "cell.png")
    Image.fromarray(picture[..., 0]).save(tmp_path / "grey.png")
    np.save(tmp_path / "one.npy", picture / np.float32(255))
    np.save(tmp_path / "flat.npy", np.zeros(3, np.float32))
    np.savez(tmp_path / "several.npz", a=np.zeros((2, 3)), b=np.zeros(2))
    save_infiller(
        tmp_path / "mean.npz", Mean.fit(np.repeat([[[[0.0]]], [[[1.0]]]], 64 * 3, 1).reshape(2, 8, 8, 3))
    )
    save_infiller(tmp_path / "three.npz", Constant(np.zeros(3)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("my_models", None)


def explain(*words):
    return main(["explain", *map(str, words)])


def numbers(run):
    return {own["name"]: own["value"] for own in json.loads((run / "result.json").read_text())["numbers"]}


def test_a_picture_by_a_function_of_jax_and_going_on(folder, capsys):
    run = folder / "run"
    words = ["--model", "my_models:picture", "--input", "cell.png", "--infill", "constant:0", "--target", 1]
    assert explain(*words, "--area-cost", 8, "--units", "grid:4x4", "--run-dir", run) == 0
    found = numbers(run)
    assert found["area hidden"] == pytest.approx(1 / 16)
    assert found["score as it is"] == pytest.approx(6)
    assert found["score, region hidden"] == pytest.approx(-6)
    assert found["score, at random hidden"] > found["score, region hidden"]
    with np.load(run / "explanation.npz") as arrays:
        assert arrays["sdr_selected"].sum() == 1
        assert arrays["x"].max() == 1
    assert (run / "certificates.csv").read_text().startswith("input,region,class,score before")
    hidden = np.asarray(Image.open(run / "counterfactuals" / "cell-sdr-0.png"))
    assert (hidden[2:4, 4:6] == 0).all()
    assert (np.delete(hidden, (2, 3), axis=0) == 30).all()
    shown = np.asarray(Image.open(run / "map-cell.png"))
    assert shown.shape == (8, 8)
    assert shown[2:4, 4:6].min() > shown[:2].max()
    sentence = json.loads((run / "result.json").read_text())["headline"]["sentence"]
    assert "with 6% of cell.png hidden, it loses class 1: its score goes from 6.0 to -6.0" in sentence
    assert (run / "figures/input-0.svg").exists()
    assert (run / "report.html").exists()
    before = (run / "explanation.npz").read_bytes()
    (run / "explanation.npz").unlink()
    assert explain("--run-dir", run, "--resume") == 0
    assert (run / "explanation.npz").read_bytes() == before
    assert explain("--run-dir", run, "--resume", "--seed", 1) == 2
    assert "seed" in capsys.readouterr().err


def test_rows_of_a_table_by_a_black_box(folder, capsys):
    run = folder / "run"
    words = ["--model", "my_models:rows", "--input", "rows.csv", "--infill", "constant:0", "--area-cost", 3]
    assert explain(*words, "--one-hot", "b,a", "--objective", "sdr", "--run-dir", run) == 0
    with np.load(run / "explanation.npz") as arrays:
        assert arrays["sdr_selected"].tolist() == [[False, True], [True, False]]
    assert "1 of 2 inputs lose" not in capsys.readouterr().out
    assert not (run / "counterfactuals").exists()
    lines = (run / "certificates.csv").read_text().splitlines()
    assert lines[1].startswith("row 1,sdr,1,4.0")


def test_channels_first_with_an_infiller_of_channels_last(folder):
    run = folder / "run"
    words = [
        "--model",
        "my_models:first",
        "--input",
        "cell.png",
        "--infill",
        "mean.npz",
        "--channels",
        "first",
    ]
    assert explain(*words, "--area-cost", 8, "--units", "grid:4x4", "--objective=sdr", "--run-dir", run) == 0
    assert numbers(run)["score, region hidden"] == pytest.approx(0)
    assert np.asarray(Image.open(run / "counterfactuals/cell-sdr-0.png")).shape == (8, 8, 3)


CELL = ("--model=my_models:picture", "--input=cell.png")
ROWS = ("--model=my_models:rows", "--input=rows.csv")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "explain needs a model: --model MODULE:FUNCTION"),
        (("--model=my_models:picture",), 2, "explain needs what is to be explained: --input FILE"),
        (CELL, 2, "--infill FILE of backthrough explain fit-infill, or local-mean, blur, noise, constant"),
        ((*CELL, "--infill=mean"), 2, "--method mean --run-dir DIR, and then --infill DIR/infill.npz"),
        ((*CELL, "--infill=none.npz"), 2, "there is no file 'none.npz'"),
        ((*CELL, "--infill=constant:red"), 2, "constant:NUMBER has a number"),
        ((*ROWS, "--infill=blur"), 2, "--infill blur is for pictures"),
        (("--model=my_models:picture", "--input=no.png", "--infill=blur"), 2, "no file or folder 'no.png'"),
        ((*CELL, "--infill=blur", "--units=cells"), 2, "--units is grid:ROWSxCOLUMNS, pixels"),
        ((*CELL, "--infill=blur", "--units=grid:8xA"), 2, "with whole numbers from 1"),
        ((*CELL, "--infill=blur", "--units=grid:9x9"), 2, "finer than the picture"),
        ((*CELL, "--infill=blur", "--units=columns"), 2, "--units columns is for rows"),
        ((*ROWS, "--infill=constant:0", "--units=pixels"), 2, "--units pixels is for pictures"),
        ((*CELL, "--infill=blur", "--columns=a"), 2, "--columns says nothing about pictures"),
        ((*ROWS, "--infill=constant:0", "--size", "8", "8"), 2, "--size says nothing about a table"),
        ((*CELL, "--infill=blur", "--size=8"), 2, "--size takes height and width"),
        ((*CELL, "--infill=blur", "--area-cost=-1"), 2, "area_cost must be finite and not negative"),
        ((*CELL, "--infill=blur", "--target=2"), 2, "target must be 0 to 1"),
        ((*CELL, "--infill=blur", "--channels=none"), 2, "is in colour: --channels last"),
        ((*CELL, "--infill=three.npz", "--size", "4", "4"), 2, "the model, called with one example of shape"),
        (("--model=my_models:pictur", "--input=cell.png", "--infill=blur"), 2, "did you mean 'picture'"),
        (("--model=my_models:two", "--input=cell.png", "--infill=blur"), 2, "but it needs a, b"),
        (("--model=my_models:nothing", "--input=cell.png", "--infill=blur"), 2, "got int"),
        (("--model=my_models:probabilities", "--input=cell.png", "--infill=blur"), 2, "probabilities: wrap"),
        (("--model=my_models:breaks", "--input=rows.csv", "--infill=constant:0"), 2, "name 'missing'"),
        (("--model=my_models:rows", "--input=text.csv", "--infill=constant:0"), 1, "text.csv"),
        (("--model=my_models:rows", "--input=flat.npy", "--infill=constant:0"), 1, "save x[None]"),
        (
            ("--model=my_models:rows", "--input=several.npz", "--infill=constant:0"),
            1,
            "arrays a, b: name the",
        ),
        (
            ("--model=my_models:bright", "--input=one.npy", "--infill=constant:0"),
            2,
            "one input of shape (8, 8, 3)",
        ),
        ((*CELL, "--infill=blur", "--run-dir=none", "--n-inputs=0"), 2, "n_inputs must be at least 1"),
    ],
)
def test_wrong_use_is_named(words, code, message, folder, capsys):
    own = [] if any(word.startswith("--run-dir") for word in words) else ["--run-dir", "run"]
    assert explain(*words, *own) == code
    assert message in capsys.readouterr().err.replace("\n", " ")
    assert not (folder / "run").exists()


def test_fitting_an_infiller_is_another_command(folder, capsys):
    assert explain("fit-infill") == 2
    assert "fit-infill needs pictures or a table" in capsys.readouterr().err
