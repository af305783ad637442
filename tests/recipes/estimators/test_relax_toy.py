"""The toy recipe: its numbers against what is known of the problem."""

import json

import numpy as np
import pytest

from backthrough.cli.main import main
from backthrough.core import ArgumentError
from backthrough.recipes.estimators.relax_toy import recipe as relax_toy
from backthrough.train import Run


def test_a_run(tmp_path, capsys):
    """At theta = 1/2 the variance of REINFORCE is ((1-t)^2 + t^2)^2 / 16, before much has been learned."""
    options = ["--n-steps", "20", "--n-seeds", "10", "--n-draws", "4000", "--targets", "0.45"]
    folder = tmp_path / "run"
    command = [
        "run",
        "relax-toy",
        *options,
        "--estimators",
        "REINFORCE",
        "RELAX",
        "DisARM",
        "--run-dir",
        str(folder),
    ]
    assert main(command) == 0
    numbers = {n["name"]: n["value"] for n in json.loads((folder / "result.json").read_text())["numbers"]}
    expected = np.log((0.45**2 + 0.55**2) ** 2 / 16)
    assert numbers["log variance half-way (REINFORCE, t = 0.45)"] == pytest.approx(expected, abs=0.05)
    assert 0.4 < numbers["median theta (DisARM, t = 0.45)"] < 0.5
    assert (folder / "figures" / "toy.svg").exists()
    first = (folder / "result.json").read_bytes()
    assert main([*command, "--resume"]) == 0
    assert (folder / "result.json").read_bytes() == first
    capsys.readouterr()


def test_refusals(tmp_path):
    for index, (config, message) in enumerate(
        (
            (relax_toy.Config(n_seeds=0), "n_seeds must be at least 1, got 0"),
            (relax_toy.Config(targets=()), "estimators and targets must name at least one"),
            (relax_toy.Config(learning_rate=-1.0), "learning_rate must be finite"),
        )
    ):
        with pytest.raises(ArgumentError, match=message):
            relax_toy.run(config, Run(tmp_path / str(index)))
