"""The recipes that stand on the solvers, at small sizes."""

import json

import numpy as np
import pytest

from backthrough.core import ArgumentError
from backthrough.recipes.flows.cnf_2d import recipe as cnf_2d
from backthrough.recipes.flows.cnf_2d.densities import TOYS, draw_points
from backthrough.recipes.ode.lynx_hare import recipe as lynx_hare
from backthrough.recipes.ode.tolerance import recipe as tolerance
from backthrough.train import Run


def numbers(run):
    result = json.loads((run.path / "result.json").read_text())
    return {number["name"]: number["value"] for number in result["numbers"]}


def test_lynx_and_hare_have_the_maximum_that_another_solver_and_optimiser_found(tmp_path):
    """LSODA and Nelder-Mead: -4.14515 at these parameters."""
    run = Run(tmp_path, config={"recipe": "ode-lynx-hare"})
    lynx_hare.run(lynx_hare.Config(n_steps=1000), run)
    found = numbers(run)
    assert found["negative log-likelihood"] == pytest.approx(-4.14515, abs=1e-3)
    expected = {"a": 0.5400, "b": 0.02716, "g": 0.7966, "d": 0.02370, "u0": 34.60, "v0": 5.844}
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=5e-3)
    assert (tmp_path / "figures" / "cycle.svg").exists()


@pytest.mark.slow
def test_errors_fall_with_the_tolerance(tmp_path):
    run = Run(tmp_path, config={"recipe": "ode-tolerance"})
    tolerance.run(tolerance.Config(loosest=4, tightest=8, end=3.0, repetitions=1), run)
    found = numbers(run)
    for name in tolerance.SOLVERS:
        assert 0.6 < found[f"error power ({name})"] < 1.6
    assert found["evaluations (Dopri8)"] < found["evaluations (Dopri5)"] < found["evaluations (Bosh3)"]
    with pytest.raises(ArgumentError, match="tightest must be at least loosest"):
        tolerance.run(tolerance.Config(loosest=4, tightest=5), run)


@pytest.mark.parametrize("name", TOYS)
def test_toy_points_have_the_scale_and_symmetry_of_their_kind(name):
    points = draw_points(name, 20_000, seed=0)
    assert points.shape == (20_000, 2)
    assert points.dtype == np.float32
    assert 1 < points.std() < 4
    np.testing.assert_array_equal(points, draw_points(name, 20_000, seed=0))
    assert not np.array_equal(points, draw_points(name, 20_000, seed=1))
    # means of symmetric kinds are zero; 6 standard errors, 10 comparisons
    if name != "moons":
        assert (abs(points.mean(0)) < 6 * points.std(0) / np.sqrt(len(points))).all()


@pytest.mark.slow
def test_a_continuous_flow_beats_a_gaussian_and_is_drawn(tmp_path):
    config = cnf_2d.Config(
        data="circles", n_steps=200, hidden_size=32, batch_size=128, n_test=300, tolerance=1e-3
    )
    run = Run(tmp_path, config={"recipe": "cnf-2d"})
    cnf_2d.run(config, run)
    points = draw_points("circles", 300, seed=cnf_2d.TEST_SEED)
    gaussian = 0.5 * np.linalg.slogdet(2 * np.pi * np.e * np.cov(points.T))[1]
    assert numbers(run)["negative log-likelihood"] < gaussian
    assert {path.name for path in (tmp_path / "figures").glob("*.svg")} == {"density.svg", "formation.svg"}
    with pytest.raises(ArgumentError, match="unknown data 'circle'; did you mean 'circles'"):
        cnf_2d.run(cnf_2d.Config(data="circle"), run)
