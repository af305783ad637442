"""Recipes of hyper: that they run, and that their exact refits are exact."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backthrough.cli.main import main
from backthrough.recipes.hyper.regularisers import best_single
from backthrough.recipes.hyper.ridge import digits


def test_a_refit_has_no_gradient_and_the_best_single_one_is_on_the_grid():
    ridge = digits(30)
    decay = np.exp(np.random.default_rng(0).uniform(-6, 0, ridge.shape))
    w = ridge.refit(decay)
    with jax.enable_x64(True):
        gradient = jax.grad(ridge.train_loss)(jnp.asarray(w), {"decay": jnp.asarray(decay)})
    assert np.abs(gradient).max() < 1e-6
    single = best_single(ridge)
    np.testing.assert_allclose(ridge.valid.measured(ridge.refit(single.decay)), single.valid, rtol=1e-6)
    for other in (single.decay * 1.2, single.decay / 1.2):
        assert ridge.valid.measured(ridge.refit(other)) >= single.valid


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "number"),
    [
        ("hyper-10", ("--n-steps", "300", "--equal-seconds", "0.3"), "test MSE (centred)"),
        ("hyper-650", ("--n-steps", "300", "--engines", "implicit"), "test MSE (implicit)"),
        (
            "hyper-global",
            ("--data", "digits", "--n-steps", "300", "--n-refit", "100"),
            "distance of the minima",
        ),
        (
            "hyper-local",
            ("--data", "digits", "--n-steps", "300", "--n-refit", "100"),
            "distance from the optimum",
        ),
        (
            "hyper-width",
            ("--widths", "1", "5", "--n-seeds", "1", "--n-steps", "150"),
            "distance from the optimum",
        ),
    ],
)
def test_a_run(name, options, number, tmp_path, capsys):
    folder = tmp_path / "run"
    assert main(["run", name, *options, "--run-dir", str(folder)]) == 0
    numbers = {
        own["name"]: own["value"] for own in json.loads((folder / "result.json").read_text())["numbers"]
    }
    assert np.isfinite(numbers[number])
    assert (folder / "report.html").exists()
    assert (folder / "figures" / "equal-time.svg").exists() == ("--equal-seconds" in options)
    capsys.readouterr()
