"""The recipe of sprites: what is drawn, and all of it for a few steps."""

import csv
import json

import numpy as np
import pytest

from backthrough.core import ArgumentError
from backthrough.recipes.latent.tcvae_dsprites import recipe
from backthrough.recipes.latent.tcvae_dsprites.config import Config
from backthrough.train import Run

TINY = Config(betas=(1.0, 5.0), n_seeds=1, n_steps=30, batch_size=16, size=8, every=16, hidden_size=8)


def test_pictures_are_reduced_hearts():
    hearts = recipe.load(TINY)
    assert hearts.pixels.shape == (6 * 3 * 2 * 2, 64)
    assert 0 <= hearts.pixels.min() < hearts.pixels.max() <= 1
    assert set(hearts.times) == {1}
    area = [hearts.pixels[hearts.classes[:, 0] == scale].sum(1).mean() for scale in range(6)]
    assert (np.diff(area) > 0).all()


def test_correlated_factors_are_four_times_as_often_at_the_likeliest_pair():
    hearts = recipe.load(Config(correlated="scale-place", size=8, every=8))
    pairs = {(scale, place) for scale, _, place, _ in hearts.classes}
    often = [
        hearts.times[(hearts.classes[:, 0] == scale) & (hearts.classes[:, 2] == place)].sum()
        for scale, place in pairs
    ]
    assert max(often) == 4 * min(often)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 10}, "size must divide 64"),
        ({"every": 17}, "at most 16"),
        ({"betas": ()}, "must not be empty"),
        ({"betas": (2.0, 2.0)}, "differ"),
        ({"betas": (0.0,)}, "betas"),
    ],
)
def test_wrong_settings_are_named(change, message, tmp_path):
    with pytest.raises(ArgumentError, match=message):
        recipe.run(Config(**{**TINY.__dict__, **change}), Run(tmp_path / "run"))


@pytest.mark.slow
def test_a_run_measures_every_training(tmp_path):
    path = tmp_path / "run"
    recipe.run(TINY, Run(path))
    with open(path / "trainings.csv") as file:
        rows = list(csv.DictReader(file))
    assert [(row["method"], row["beta"]) for row in rows] == [
        (method, beta) for method in ("beta-tcvae", "beta-vae") for beta in ("1.0", "5.0")
    ]
    for row in rows:
        assert 0 <= float(row["MIG"]) <= 1
        assert float(row["ELBO"]) < 0
    result = json.loads((path / "result.json").read_text())
    assert "plain VAEs have" in result["headline"]["sentence"]
    assert (path / "figures/traversals-beta-vae.png").exists()
