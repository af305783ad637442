"""The recipes whose models have a solver inside, at small sizes."""

import json

import numpy as np
import pytest
from scipy.stats import spearmanr

from backthrough.core import ArgumentError
from backthrough.recipes import ode_mnist
from backthrough.train import Run


def numbers(run):
    result = json.loads((run.path / "result.json").read_text())
    return {number["name"]: number["value"] for number in result["numbers"]}


def test_the_rank_correlation_is_scipys():
    a, b = np.random.default_rng(0).integers(0, 5, (2, 60))
    assert ode_mnist.rank_correlation(a, b + a) == pytest.approx(spearmanr(a, b + a).statistic)
    assert ode_mnist.rank_correlation(np.ones(4), np.arange(4)) == 0


@pytest.mark.slow
def test_three_networks_learn_digits_and_tell_what_they_cost(tmp_path):
    config = ode_mnist.Config(
        models=("ODE-Net", "ResNet", "RK-Net"),
        channels=4,
        n_steps=300,
        batch_size=12,
        n_test=300,
        n_measured=60,
    )
    run = Run(tmp_path, config={"recipe": "ode-mnist"})
    ode_mnist.run(config, run)
    found = numbers(run)
    for name in config.models:
        assert found[f"test accuracy ({name})"] > 0.5  # chance is 0.1
    assert found["parameters (ODE-Net)"] == found["parameters (RK-Net)"] < found["parameters (ResNet)"]
    assert found["evaluations an image at 0.1"] < found["evaluations an image at 1e-05"]
    assert {path.name for path in (tmp_path / "figures").glob("*.*g")} == {"adapts.svg", "extremes.png"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"models": ("ODENet",)}, "unknown model 'ODENet'; did you mean 'ODE-Net'"),
        ({"models": ()}, "models must name each network once"),
        ({"channels": 20}, "channels above 16 must fall into groups of eight, got 20"),
        ({"data": "lynx-hare"}, "lynx-hare has no labelled pictures; use mnist or mnist-small"),
        ({"tolerance": -1.0}, "tolerance must be finite and greater than zero"),
    ],
)
def test_bad_options_of_the_digits_are_named(tmp_path, options, message):
    run = Run(tmp_path, config={})
    with pytest.raises(ArgumentError, match=message):
        ode_mnist.run(ode_mnist.Config(**options), run)
