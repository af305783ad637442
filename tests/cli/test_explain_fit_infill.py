"""The command that learns an infiller from one's own pictures or table."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from backthrough.cli.explain_fit_infill import main
from backthrough.core import ArgumentError, DataError
from backthrough.explain.infill import VAEAC, GaussianConditional, MaskedAutoencoder, load_infiller


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    rng = np.random.default_rng(0)
    a = rng.normal(size=90)
    colour = np.eye(2)[(a > 0).astype(int)]
    rows = np.column_stack([a, 2 * a + 0.1 * rng.normal(size=90), colour])
    path = tmp_path_factory.mktemp("table") / "rows.csv"
    lines = [",".join(f"{value:.5g}" for value in row) for row in rows]
    path.write_text("\n".join(["a,b,red,blue", *lines]))
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for i in range(14):
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(folder / f"{i:02d}.png")
    return folder


def fit(*words):
    return main([str(word) for word in words])


def test_a_table_by_a_gaussian(table, tmp_path, capsys):
    out = tmp_path / "own.npz"
    words = [
        table,
        "--method",
        "gaussian",
        "--columns",
        "b",
        "a",
        "--run-dir",
        tmp_path / "run",
        "--out",
        out,
    ]
    assert fit(*words) == 0
    numbers = {
        own["name"]: own["value"] for own in json.loads((tmp_path / "run/result.json").read_text())["numbers"]
    }
    assert numbers["squared error"] < 0.8 * numbers["squared error (mean)"]
    assert numbers["examples to learn from"] == 75
    assert "their mean" in capsys.readouterr().out.replace("\n", " ")
    infiller = load_infiller(out)
    assert isinstance(infiller, GaussianConditional)
    row = jnp.array([2.0, 0.0])
    found = infiller.sample(row, jnp.array([True, False]), key=jax.random.key(0), n_samples=1)
    assert abs(float(found[0, 1]) - 1) < 0.3
    assert (tmp_path / "run/figures/filled.svg").exists()


@pytest.mark.slow
def test_a_table_with_categories_and_pictures_by_networks_and_going_on(table, pictures, tmp_path, capsys):
    words = [table, "--one-hot", "red,blue", "--n-steps", 20, "--run-dir", tmp_path / "rows"]
    assert fit(*words) == 0
    infiller = load_infiller(tmp_path / "rows/infill.npz")
    assert isinstance(infiller, VAEAC)
    assert infiller.columns.groups == ((2, 3),)
    assert fit("--run-dir", tmp_path / "rows", "--resume") == 0
    assert "was finished at step 20 of 20" in capsys.readouterr().err
    words = [pictures, "--scale", "-1 to 1", "--n-steps", 2, "--run-dir", tmp_path / "pictures"]
    assert fit(*words) == 0
    infiller = load_infiller(tmp_path / "pictures/infill.npz")
    assert isinstance(infiller, MaskedAutoencoder)
    assert infiller.seen.shape == (8, 8, 3)
    assert float(infiller.seen.low) < -0.9


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        ([], ArgumentError, "fit-infill needs pictures or a table"),
        (["none.csv"], ArgumentError, "there is no folder or file 'none.csv'"),
        (["TABLE", "--method", "unet"], ArgumentError, "unknown method for a table 'unet'"),
        (["PICTURES", "--columns", "a"], ArgumentError, "--columns is for a table"),
        (["TABLE", "--size", "8", "8"], ArgumentError, "--size is for pictures"),
        (["PICTURES", "--size", "8"], ArgumentError, "--size takes height and width"),
        (["TABLE", "--method", "mean", "--n-steps", "3"], ArgumentError, "--n-steps is for unet and vaeac"),
        (["TABLE", "--method", "mean", "--one-hot", "red,blue"], ArgumentError, "--one-hot is for vaeac"),
        (["TABLE", "--one-hot", "red,bleu"], ArgumentError, "did you mean 'blue'"),
        (["TABLE", "--one-hot", "red"], ArgumentError, "two columns or more, with commas, got 'red'"),
        (["TABLE", "--n-steps", "0"], ArgumentError, "n_steps must be at least 1"),
        (["TABLE", "--columns", "c"], ArgumentError, "unknown column"),
        (["TABLE", "--out", "none/own.npz"], ArgumentError, "no folder .*none' (--out)"),
    ],
)
def test_wrong_use_is_named(words, error, message, table, pictures):
    places = {"TABLE": table, "PICTURES": pictures}
    with pytest.raises(error, match=message.replace("(", r"\(").replace(")", r"\)")):
        fit(*(places.get(word, word) for word in words))


def test_too_few_examples_are_named(tmp_path):
    path = tmp_path / "few.csv"
    path.write_text("a,b\n" + "1,2\n" * 5)
    with pytest.raises(DataError, match="few.csv has 5 examples; at least 12 are needed"):
        fit(path, "--method", "mean", "--run-dir", tmp_path / "run")
