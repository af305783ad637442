"""The recipes whose models have a solver inside, at small sizes."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backthrough.core import ArgumentError
from backthrough.recipes.latent.spirals import recipe as latent_ode_spirals
from backthrough.recipes.latent.spirals.data import LENGTH, NOISE, draw_spirals
from backthrough.recipes.ode.mnist import recipe as ode_mnist
from backthrough.train import Run


def numbers(run):
    result = json.loads((run.path / "result.json").read_text())
    return {number["name"]: number["value"] for number in result["numbers"]}


def test_what_does_not_vary_has_no_rank_correlation():
    assert ode_mnist.rank_correlation(np.ones(4), np.arange(4)) == 0
    assert ode_mnist.rank_correlation(np.array([1, 5, 9]), np.array([2, 3, 8])) == pytest.approx(1)


def test_moved_images_keep_what_stays_in_view():
    images = np.zeros((200, 9, 9), np.uint8)
    images[:, 4, 4] = np.arange(1, 201)
    found = np.asarray(ode_mnist.moved(jnp.asarray(images), 2, key=jax.random.key(0)))
    places = {}
    for i, image in enumerate(found):
        row, column = np.argwhere(image)[0]
        assert image[row, column] == image.sum() == i + 1
        places[row, column] = places.get((row, column), 0) + 1
    assert set(places) == {(i, j) for i in range(2, 7) for j in range(2, 7)}


@pytest.mark.slow
def test_three_networks_learn_digits_and_tell_what_they_cost(tmp_path):
    config = ode_mnist.Config(
        models=("ODE-Net", "ResNet", "RK-Net"),
        channels=4,
        n_steps=300,
        batch_size=12,
        n_test=300,
        n_measured=60,
        shift=1,
    )
    run = Run(tmp_path, config={"recipe": "ode-mnist"})
    ode_mnist.run(config, run)
    found = numbers(run)
    for name in config.models:
        assert found[f"test accuracy ({name})"] > 0.5  # chance is 0.1
    gain = found["test accuracy (ODE-Net)"] - found["test accuracy (ResNet)"]
    assert found["ODE-Net less ResNet"] == pytest.approx(gain)
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


def test_spirals_have_times_of_their_own_and_the_right_noise():
    spirals = draw_spirals(200, 30, ahead=LENGTH, seed=0)
    assert draw_spirals(4, 30, seed=0).truth.shape == (4, LENGTH, 2)
    assert spirals.seen.values.shape == (200, 30, 2)
    assert spirals.truth.shape == (200, 2 * LENGTH, 2)
    assert not np.array_equal(spirals.seen.times[0], spirals.seen.times[1])
    rows = np.rint(spirals.seen.times * LENGTH).astype(int)
    noise = spirals.seen.values - np.take_along_axis(spirals.truth, rows[..., None], axis=1)
    error = NOISE / np.sqrt(2 * noise.size)
    assert abs(noise.std() - NOISE) < 6 * error
    # clockwise and counter-clockwise about their centres
    for first, centre, sign in ((0, 5.0, 1), (1, -5.0, -1)):
        arms = spirals.truth[first::2] - [centre, 0.0]
        turns = arms[:, :-1, 0] * arms[:, 1:, 1] - arms[:, :-1, 1] * arms[:, 1:, 0]
        assert (sign * turns >= -1e-4).all()


@pytest.mark.slow
def test_a_latent_ode_continues_spirals(tmp_path):
    config = latent_ode_spirals.Config(n_train=12, n_test=10, n_steps=20, batch_size=10, n_points=10)
    run = Run(tmp_path, config={"recipe": "latent-ode-spirals"})
    latent_ode_spirals.run(config, run)
    found = numbers(run)
    ratio = found["extrapolation RMSE (RNN)"] / found["extrapolation RMSE (latent ODE)"]
    assert found["RNN over latent ODE"] == pytest.approx(ratio)
    assert (tmp_path / "figures" / "spirals.svg").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_points": 101}, "n_points must lie between 2 and 100, got 101"),
        ({"tolerance": 0.0}, "tolerance must be finite and greater than zero"),
    ],
)
def test_bad_options_of_the_spirals_are_named(tmp_path, options, message):
    with pytest.raises(ArgumentError, match=message):
        latent_ode_spirals.run(latent_ode_spirals.Config(**options), Run(tmp_path, config={}))
