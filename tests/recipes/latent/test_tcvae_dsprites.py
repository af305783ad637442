"""The recipe of sprites: what is drawn, and all of it for a few steps."""

import csv
import json

import numpy as np
import pandas as pd
import pytest

from backthrough.cli.main import main
from backthrough.core import ArgumentError
from backthrough.recipes.latent.tcvae_dsprites import recipe
from backthrough.recipes.latent.tcvae_dsprites.config import Config
from backthrough.train import Run

TINY = Config(betas=(1.0, 5.0), n_seeds=1, n_steps=30, batch_size=16, size=8, every=16, hidden_size=8)


def test_pictures_are_reduced_hearts():
    hearts = recipe.load(TINY)
    assert hearts.pictures.pixels.shape == (6 * 3 * 2 * 2, 64)
    assert 0 <= hearts.pictures.pixels.min() < hearts.pictures.pixels.max() <= 1
    assert set(hearts.pictures.times) == {1}
    area = [hearts.pictures.pixels[hearts.classes[:, 0] == scale].sum(1).mean() for scale in range(6)]
    assert (np.diff(area) > 0).all()


def test_correlated_factors_are_four_times_as_often_at_the_likeliest_pair():
    hearts = recipe.load(Config(correlated="scale-place", size=8, every=8))
    pairs = {(scale, place) for scale, _, place, _ in hearts.classes}
    often = [
        hearts.pictures.times[(hearts.classes[:, 0] == scale) & (hearts.classes[:, 2] == place)].sum()
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
    names = {number["name"] for number in result["numbers"]}
    assert {"rank correlation", "MIG, beta-vae, beta 5"} <= names
    # A plain VAE is that of both methods, trained once.
    plain = [row for row in rows if row["beta"] == "1.0"]
    assert plain[0]["ELBO"] == plain[1]["ELBO"]
    assert {row["training"] for row in rows} == {"0", "1", "2"}
    assert (path / "figures/traversals.svg").exists()
    words = ["disentangle", str(path / "codes.npz"), str(path / "factors.csv"), "--n-rows", "60"]
    assert main([*words, "--run-dir", str(tmp_path / "scores")]) == 0


def test_methods_are_compared_at_equal_elbo():
    """Lines y = 2 and y = x / 10 meet ELBOs from -8 to -1: 2 - (-8 - 1) / 20."""
    rows = [
        ("beta-tcvae", -9.0, 2.0),
        ("beta-tcvae", -1.0, 2.0),
        ("beta-vae", -8.0, -0.8),
        ("beta-vae", 0.0, 0.0),
    ]
    table = pd.DataFrame(rows, columns=["method", "ELBO", "MIG"]).assign(seed=0)
    assert recipe.at_equal_elbo(table) == pytest.approx([2 + 9 / 20])
    assert recipe.at_equal_elbo(table.iloc[[0, 2, 2]]) == []
