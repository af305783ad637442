"""The recipes of explanations, and what comes with the package for them."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from backthrough.core import ArgumentError
from backthrough.datasets import load
from backthrough.explain.infill import MaskedAutoencoder
from backthrough.recipes import RECIPES
from backthrough.recipes.explain.cell_classifier import accuracy
from backthrough.recipes.explain.cells import Windows, small_windows, thinned
from backthrough.recipes.explain.fido_cells import recipe as cells_recipe
from backthrough.recipes.explain.fido_cells.config import Config as CellsConfig
from backthrough.recipes.explain.fido_digits import recipe as digits_recipe
from backthrough.recipes.explain.fido_digits.config import Config as DigitsConfig
from backthrough.recipes.explain.scene_classifier import is_told, presence_logits
from backthrough.recipes.explain.scenes import make_scenes
from backthrough.recipes.explain.trained import (
    SHIPPED,
    load_trained,
    save_trained,
    shipped,
    train_on_windows,
)
from backthrough.train import Run

TINY = {"infills": ("generative",), "n_inputs": 1, "cells": 3, "n_rounds": 2, "n_proposals": 2, "n_steps": 2}


@pytest.fixture(scope="module")
def windows():
    return small_windows(load("cell-windows-small"))


def result(run):
    found = json.loads((run / "result.json").read_text())
    return found, {own["name"]: own["value"] for own in found["numbers"]}


def with_a_tiny_infiller(name):
    """What is shipped, with a network that compiles quickly."""
    trained = shipped(name)
    seen = trained.infiller.seen
    tiny = MaskedAutoencoder(
        seen, trained.infiller.mean, trained.infiller.std, channels="last", widths=(4,), key=jax.random.key(0)
    )
    return trained._replace(infiller=tiny)


def test_what_is_shipped_is_small_and_right(windows, tmp_path):
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 1_500_000
    assert windows.labels.tolist() == [1] * 8 + [0] * 4
    assert np.isfinite(windows.boxes).all(axis=1).tolist() == [True] * 8 + [False] * 4
    cells = shipped("cells")
    assert accuracy(cells.model, windows) == 1
    scenes = make_scenes(load("mnist-small"), 40, seed=5, split="test")
    right = (presence_logits(shipped("scenes").model, scenes) > 0) == scenes.present
    assert right.mean() > 0.93
    assert is_told(shipped("scenes").model, scenes).mean() > 0.5
    save_trained(tmp_path, "cells", cells)
    again = load_trained(tmp_path, "cells")
    assert accuracy(again.model, windows) == 1
    np.testing.assert_array_equal(again.mean, cells.mean)


def test_thinned_has_two_negatives_for_each_positive(windows):
    images = thinned(windows)
    assert len(images) == 6
    none = windows.images[windows.labels == 0]
    assert sum(any((own == other).all() for other in none) for own in images) == 4


@pytest.mark.parametrize(
    ("module", "config", "name", "number"),
    [
        (cells_recipe, CellsConfig(**TINY), "cells", "overlap (generative)"),
        pytest.param(
            digits_recipe, DigitsConfig(**TINY), "scenes", "mass (generative)", marks=pytest.mark.slow
        ),
    ],
)
def test_a_recipe_from_end_to_end(module, config, name, number, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "shipped", lambda _: with_a_tiny_infiller(name))
    module.run(config, Run(tmp_path, config={}))
    found, values = result(tmp_path)
    assert found["headline"]["number"] == number
    assert found["headline"]["picture"] == "regions.svg"
    assert "by occlusion" in found["headline"]["sentence"]
    assert 0 <= values[number] <= 1
    assert {"loss of the SDR (generative)", "area of the SSR (generative)", "pointing (occlusion)"} <= set(
        values
    )
    assert (tmp_path / "figures/regions.svg").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"infills": ("mean",)}, "generative first"),
        ({"infills": ("generative", "generative")}, "different names"),
        ({"n_inputs": 0}, "n_inputs must be at least 1"),
        ({"cells": 1}, "cells must be at least 2"),
    ],
)
def test_wrong_options_are_named(change, message, tmp_path):
    for module, config in ((cells_recipe, CellsConfig()), (digits_recipe, DigitsConfig())):
        with pytest.raises(ArgumentError, match=message):
            module.run(dataclasses.replace(config, **change), Run(tmp_path / module.__name__, config={}))


@pytest.mark.slow
def test_the_demo_finds_cells_and_digits(tmp_path):
    jax.config.update("jax_disable_most_optimizations", False)
    for name, number in (
        ("fido-cells", "overlap (generative)"),
        ("fido-digits", "mass of digits (generative)"),
    ):
        recipe = RECIPES[name]
        recipe.load().run(recipe.load_config().DEMO.config, Run(tmp_path / name, config={}))
        _, values = result(tmp_path / name)
        assert values[number] > 0.6
        assert values["success of the SDR (generative)"] > 0.85
        assert values["success of the SSR (generative)"] > 0.85


@pytest.mark.slow
def test_training_for_windows(windows):
    more = Windows(
        np.repeat(windows.images, 8, axis=0),
        np.repeat(windows.labels, 8),
        np.repeat(windows.boxes, 8, axis=0),
        np.repeat(windows.photograph, 8),
    )
    trained = train_on_windows(more, key=jax.random.key(0), n_steps=(30, 2))
    assert trained.infiller.widths == (16, 32, 64)
    assert accuracy(trained.model, windows) > 0.6
