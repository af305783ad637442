"""Active learning: a run, the protocol's rows, and which row is labelled next."""

import json

import numpy as np
import pytest

from backthrough.cli.main import main
from backthrough.core import ArgumentError
from backthrough.datasets import load
from backthrough.recipes.natgrad.active_learning import recipe
from backthrough.recipes.natgrad.active_learning.config import Config
from backthrough.train import Run


@pytest.mark.slow
def test_a_run(tmp_path, capsys):
    folder = tmp_path / "run"
    sizes = ["--n-runs", "3", "--n-acquired", "2", "--n-steps", "5", "--n-hidden", "3", "--n-draws", "5"]
    command = ["run", "active-learning", "--data", "yacht", *sizes, "--run-dir", str(folder)]
    assert main(command) == 0
    numbers = {n["name"]: n for n in json.loads((folder / "result.json").read_text())["numbers"]}
    for method in ("noisy-kfac", "noisy-adam"):
        random, active, gain = (
            numbers[name]["value"]
            for name in (f"RMSE ({method}, random)", f"RMSE ({method}, active)", f"gain ({method})")
        )
        assert gain == pytest.approx(random - active)
        t = gain / numbers[f"gain ({method})"]["standard_error"]
        assert numbers[f"paired t ({method})"]["value"] == pytest.approx(t)
    assert (folder / "figures" / "rmse.svg").exists()
    capsys.readouterr()


@pytest.mark.slow
def test_both_choices_start_from_the_same_rows_and_weights():
    config = Config(data="yacht", n_runs=2, n_acquired=1, n_steps=3, n_hidden=3, n_draws=5)
    found = recipe.curves("mc-dropout", config, load("yacht"), key=recipe.jax.random.key(0))
    assert np.array_equal(found.random[:, 0], found.active[:, 0])
    assert not np.array_equal(found.random[:, 1], found.active[:, 1])


def test_the_next_row_is_the_most_uncertain_one_of_the_pool():
    orders = np.array([[4, 2, 0, 1, 3], [3, 1, 2, 0, 4]])
    variance = np.array([[-np.inf, 0.1, 0.5, 0.9], [-np.inf, 0.1, 0.5, 0.3]])
    recipe.label_next(orders, variance, np.array([False, True]), 1)
    assert orders.tolist() == [[4, 2, 0, 1, 3], [3, 2, 1, 0, 4]]


def test_divisions():
    """Each is an order of all rows, and the test rows don't enter the scaling of features."""
    config, table = Config(data="yacht", n_runs=2), load("yacht")
    orders, x = recipe.divisions(config, table)
    assert np.array_equal(np.sort(orders, axis=1), np.tile(np.arange(len(table.y)), (2, 1)))
    assert not np.array_equal(orders[0], orders[1])
    known = np.take_along_axis(x, orders[:, :-100, None], axis=1)
    assert known.mean(1) == pytest.approx(np.zeros((2, 6)), abs=1e-5)
    assert known.std(1) == pytest.approx(np.ones((2, 6)), abs=1e-5)


def test_refusals(tmp_path):
    for index, (config, message) in enumerate(
        (
            (Config(methods=()), "at least one"),
            (Config(methods=("map",)), "unknown method 'map'"),
            (Config(n_runs=1), "n_runs must be at least 2"),
            (Config(n_acquired=0), "n_acquired must be at least 1"),
            (Config(data="yacht", n_test=280), "yacht has 308 rows, fewer than 309"),
        )
    ):
        with pytest.raises(ArgumentError, match=message):
            recipe.run(config, Run(tmp_path / str(index)))
