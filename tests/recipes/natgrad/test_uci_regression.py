"""The recipe of the UCI benchmark: its splits, many trainings at once, and all of it for a moment."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest

from backthrough.core import ArgumentError
from backthrough.datasets import load
from backthrough.recipes.natgrad.splits import standardised_splits
from backthrough.recipes.natgrad.uci_regression.config import Config
from backthrough.recipes.natgrad.uci_regression.recipe import hold, run
from backthrough.train import Run

TINY = Config(methods=("noisy-kfac", "map"), n_splits=2, n_epochs=1, batch_size=100, n_draws=3)


def test_splits_are_standardised_by_their_training_part_and_constant_columns_vanish():
    table = load("yacht")
    x = table.x.copy()
    x[:, 2] = 0.998  # whose deviation by NumPy is 1e-16 or so, and not 0
    splits = standardised_splits(replace(table, x=x), 2)
    others = [0, 1, 3, 4, 5]
    np.testing.assert_allclose(splits.x_train[..., others].mean(1), 0, atol=1e-5)
    np.testing.assert_allclose(splits.x_train[..., others].std(1), 1, rtol=1e-5)
    assert not splits.x_train[..., 2].any()
    back = splits.y_mean[1] + splits.y_scale[1] * splits.y_test[1, :, 0]
    np.testing.assert_allclose(back, table.y[table.test_index[1]], rtol=1e-4, atol=1e-4)


def test_a_split_among_others_is_what_it_is_alone():
    table = load("yacht")
    both, alone = (
        hold("noisy-adam", replace(TINY, n_splits=n), table, key=jax.random.key(3)) for n in (2, 1)
    )
    for one, other in zip(both, alone, strict=True):
        np.testing.assert_allclose(one[:1], other, rtol=1e-3, atol=1e-3)


def test_the_recipe_compares_methods_split_by_split(tmp_path):
    run(TINY, Run(tmp_path, config={}))
    result = json.loads((tmp_path / "result.json").read_text())
    found = {number["name"]: number for number in result["numbers"]}
    difference = found["log-likelihood, noisy-kfac less map"]
    means = [found[f"log-likelihood ({name})"]["value"] for name in TINY.methods]
    assert difference["value"] == pytest.approx(means[0] - means[1], abs=1e-6)
    assert difference["n"] == 2
    assert (tmp_path / "figures/methods.svg").stat().st_size > 10_000
    assert "of map (" in result["headline"]["sentence"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": ("noisy-kfac", "noisy-kfac")}, "different names"),
        ({"methods": ("kfac",)}, "did you mean 'noisy-kfac'"),
        ({"n_splits": 0}, "n_splits must be at least 1"),
    ],
)
def test_wrong_settings_are_refused(change, message, tmp_path):
    with pytest.raises(ArgumentError, match=message):
        run(replace(TINY, **change), Run(tmp_path, config={}))
