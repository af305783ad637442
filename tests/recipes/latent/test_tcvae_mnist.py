"""The recipe of pictures whose factors nobody knows, for a few steps."""

import csv
import json

import numpy as np
import pytest

from backthrough.recipes.latent.tcvae_mnist import recipe
from backthrough.recipes.latent.tcvae_mnist.config import Config
from backthrough.train import Run


@pytest.mark.slow
def test_ones_own_pictures_need_not_be_square(tmp_path):
    np.save(tmp_path / "mine.npy", np.random.default_rng(0).random((40, 5, 7)).astype(np.float32))
    config = Config(
        data=str(tmp_path / "mine.npy"),
        betas=(1.0, 4.0),
        n_steps=20,
        batch_size=16,
        hidden_size=8,
        latent_size=3,
    )
    recipe.run(config, Run(tmp_path / "run"))
    with open(tmp_path / "run/trainings.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    for row in rows:
        parts = float(row["total correlation"]) + float(row["mutual information"])
        assert 0 <= parts <= float(row["KL"]) + 1
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert "a plain VAE's is" in result["headline"]["sentence"]
