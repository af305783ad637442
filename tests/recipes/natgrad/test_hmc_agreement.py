"""Agreement with NUTS: a run, and what is made of a reference that has not converged."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest

from backthrough.cli.main import main
from backthrough.core import ArgumentError
from backthrough.datasets import load
from backthrough.recipes.natgrad.hmc_agreement import recipe
from backthrough.recipes.natgrad.hmc_agreement.config import Config
from backthrough.train import Run

TINY = Config(n_hidden=3, n_starts=2, n_epochs=1, n_chains=2, n_warmup=4, n_samples=8, n_draws=20)


@pytest.mark.slow
def test_a_run(tmp_path, capsys):
    folder = tmp_path / "run"
    options = ["--n-hidden", "3", "--n-starts", "2", "--n-epochs", "1", "--n-draws", "20", "--n-chains", "2"]
    chain = ["--n-warmup", "4", "--n-samples", "8", "--max-tree-depth", "2"]
    methods = ["--methods", "noisy-kfac", "mc-dropout"]
    command = ["run", "hmc-agreement", *options, *chain, *methods, "--run-dir", str(folder)]
    assert main(command) == 0
    result = json.loads((folder / "result.json").read_text())
    numbers = {number["name"]: number for number in result["numbers"]}
    assert -1 <= numbers["correlation (noisy-kfac)"]["value"] <= 1
    assert "the paper has 0.717 as recalled" in numbers["correlation (noisy-kfac)"]["what"]
    assert numbers["variance ratio (mc-dropout)"]["value"] > 0
    assert numbers["learning rate (mc-dropout)"]["value"] in (1e-2, 3e-3)
    assert numbers["largest R-hat"]["value"] > recipe.CONVERGED  # eight draws are too few
    assert "THE CHAINS DO NOT AGREE" in numbers["largest R-hat"]["what"]
    assert "The reference has NOT converged" in result["headline"]["sentence"]
    assert (folder / "figures" / "variances.svg").exists()
    first = (folder / "result.json").read_bytes()
    assert main([*command, "--resume"]) == 0
    assert (folder / "result.json").read_bytes() == first
    capsys.readouterr()


def test_the_learning_rate_is_chosen_on_training_rows_alone(monkeypatch):
    table = load("yacht")
    splits = recipe.copies_of(TINY, table)
    assert np.array_equal(splits.x_train[0], splits.x_train[1])
    seen = []

    def train(name, config, table, parts, *, learning_rate, **_):
        seen.append((parts, learning_rate))
        return learning_rate

    class Predicted:
        def __init__(self, rate):
            self.rate = rate

        def log_prob(self, y):
            return -self.rate + 0 * y[:, 0]

    monkeypatch.setattr(recipe, "train", train)
    monkeypatch.setattr(recipe, "predict_splits", lambda fitted, x, **_: jax.numpy.full(len(x), fitted))
    monkeypatch.setattr(recipe.eqx, "filter_vmap", lambda f: lambda p, y: f(Predicted(p[0]), y[0]))
    config = replace(TINY, learning_rates=(0.1, 0.2, 0.3))
    assert recipe.chosen_rate("mc-dropout", config, table, splits, key=jax.random.key(0)) == 0.1
    assert [rate for _, rate in seen] == [0.1, 0.2, 0.3]
    together = np.concatenate([seen[0][0].x_train[0], seen[0][0].x_test[0]])
    assert seen[0][0].x_test.shape[1] == splits.x_train.shape[1] // 10
    assert np.array_equal(np.sort(together, axis=0), np.sort(splits.x_train[0], axis=0))


def test_a_converged_reference_is_not_called_otherwise():
    r_hat, variance = np.array([1.0, 1.02]), np.array([0.1, 0.2])
    found = {
        name: recipe.Compared(np.array(own), np.array([0.5, 0.5]), np.ones((2, 2)), 0.0)
        for name, own in {"noisy-kfac": [0.8, 0.7], "noisy-adam": [0.6, 0.6]}.items()
    }
    for worst, converged in ((1.02, True), (1.05, False)):
        reference = recipe.Reference(None, np.where(r_hat > 1, worst, r_hat), variance)
        assert reference.is_converged is converged
        numbers = recipe.numbers_of(TINY, reference, found)
        sentence = recipe.headline(TINY, reference, found, numbers).sentence
        assert ("NOT converged" in sentence) is not converged
        assert "noisy-kfac and of NUTS correlate by 0.750" in sentence
        assert all(("DO NOT AGREE" in number.what) is not converged for number in numbers)


def test_refusals(tmp_path):
    for index, (config, message) in enumerate(
        (
            (Config(methods=()), "at least one"),
            (Config(methods=("noisy-adam", "noisy-adam")), "different names"),
            (Config(methods=("map",)), "unknown method 'map'"),
            (Config(split=20), "yacht has 20 splits, there is no 20"),
            (Config(learning_rates=()), "at least one"),
            (Config(n_samples=3), "n_samples must be at least 4"),
            (Config(n_chains=0), "n_chains must be at least 1"),
        )
    ):
        with pytest.raises(ArgumentError, match=message):
            recipe.run(config, Run(tmp_path / str(index)))
