"""`backthrough tune` on a module of the current folder."""

import json

import pandas as pd
import pytest

from backthrough.cli.main import main
from backthrough.hyper import Schedule

MODULE = """
import jax.numpy as jnp
from backthrough.hyper import HyperSpace, Real

x = jnp.linspace(-1, 1, 20)
y = 0.5 * x + 0.3 * jnp.sin(40 * x)


def train_loss(w, hyper):
    return jnp.mean((w[0] * x[::2] + w[1] - y[::2]) ** 2) + hyper["decay"] * jnp.sum(w**2)


def valid_loss(w):
    return jnp.mean((w[0] * x[1::2] + w[1] - y[1::2]) ** 2)


def problem():
    return train_loss, valid_loss, jnp.zeros(2), HyperSpace(decay=Real(1e-4, 10.0, log=True))


def with_third():
    return *problem(), valid_loss


def short():
    return train_loss, valid_loss


def batched():
    return lambda w, hyper, batch: 0.0, valid_loss, jnp.zeros(2), HyperSpace(decay=Real(log=True))


def failing():
    def broken(w, hyper):
        raise KeyError("no such pixel")

    return broken, valid_loss, jnp.zeros(2), HyperSpace(decay=Real(log=True))
"""


@pytest.fixture(autouse=True)
def _module(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tuned_module.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)


def tune(*words):
    return main(["tune", *map(str, words)])


def test_a_run_leaves_files_and_a_page(tmp_path, capsys):
    run = tmp_path / "run"
    words = (
        "tuned_module:with_third",
        "--run-dir",
        run,
        "--engine",
        "implicit",
        "--steps",
        "60",
        "--refit",
        "50",
    )
    assert tune(*words) == 0
    assert "tuned in one run" in capsys.readouterr().out
    rows = pd.read_csv(run / "hyperparameters.csv")
    assert rows["hyperparameter"].tolist() == ["decay"]
    assert 1e-4 <= rows["value"][0] <= 10
    assert Schedule.load(run / "schedule.npz").labels == ("decay",)
    names = [number["name"] for number in json.loads((run / "result.json").read_text())["numbers"]]
    assert names[:2] == ["third loss", "validation loss"]
    assert (run / "figures" / "path.svg").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "tune needs MODULE:FUNCTION"),
        (("tuned_module:short",), 2, "must return (train_loss, valid_loss, params, space)"),
        (("tuned_module:batched",), 2, "batches are for backthrough.hyper.tune"),
        (("tuned_module:problems",), 2, "did you mean 'problem'"),
        (("tuned_module:problem", "--steps", "3"), 2, "steps must be at least 10"),
        (("tuned_module:problem", "--scale", "0"), 2, "scale must be finite and greater than zero"),
        (("tuned_module:failing", "--steps", "20"), 1, "your code raised KeyError"),
    ],
)
def test_wrong_use_is_refused(words, code, message, tmp_path, capsys):
    assert tune(*words, *(("--run-dir", tmp_path / "run") if words else ())) == code
    assert message in capsys.readouterr().err
