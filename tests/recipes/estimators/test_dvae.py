"""The discrete VAE: its ELBO and the gradients of two layers against enumeration; its recipe."""

import itertools
import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backthrough.cli.main import main
from backthrough.core import ArgumentError
from backthrough.recipes.estimators.dvae import recipe as relax_dvae
from backthrough.recipes.estimators.dvae.model import BernoulliLayers, negative_elbo, start_controls
from backthrough.train import Run

X = jnp.array([1.0, 0.0, 1.0])
MEAN = np.array([0.3, 0.6, 0.5])
NAMES = ("REINFORCE", "leave-one-out", "DisARM", "REBAR", "RELAX")
QUICK = (("leave-one-out", 0), ("DisARM", 0), ("RELAX", 1))
N = 20_000


def model_of(sizes, n_hidden=0):
    model = BernoulliLayers(MEAN, sizes, n_hidden, key=jax.random.key(0))
    return eqx.tree_at(lambda m: m.prior_logits, model, jnp.linspace(-0.5, 0.5, sizes[-1]))


def log_sigmoid_sum(bits, logits):
    return float(np.sum(np.where(bits > 0, -np.logaddexp(0, -logits), -np.logaddexp(0, logits))))


def outputs(network, inputs):
    """Linear layers with tanh between them, in NumPy."""
    *hidden, last = [layer for layer in network.layers if hasattr(layer, "weight")]
    for layer in hidden:
        inputs = np.tanh(affine(layer, inputs))
    return affine(last, inputs)


def affine(layer, inputs):
    return np.asarray(layer.weight, np.float64) @ inputs + np.asarray(layer.bias, np.float64)


def enumerated(model, x=X):
    """-ELBO of two layers, every b in NumPy."""
    total, x = 0.0, np.asarray(x, np.float64)
    first, second = (network.layers[-1].out_features for network in model.encoders)
    below = outputs(model.encoders[0], x - MEAN)
    for b1 in map(np.array, itertools.product((0.0, 1.0), repeat=first)):
        above = outputs(model.encoders[1], 2 * b1 - 1)
        for b2 in map(np.array, itertools.product((0.0, 1.0), repeat=second)):
            log_q = log_sigmoid_sum(b1, below) + log_sigmoid_sum(b2, above)
            log_p = (
                log_sigmoid_sum(b2, np.asarray(model.prior_logits, np.float64))
                + log_sigmoid_sum(b1, outputs(model.decoders[1], 2 * b2 - 1))
                + log_sigmoid_sum(x, outputs(model.decoders[0], 2 * b1 - 1))
            )
            total -= np.exp(log_q) * (log_p - log_q)
    return total


def exact_gradients(model):
    """By central differences of the enumerated value, in the first layer's and the second layer's biases."""
    places = (
        lambda m: m.encoders[0].layers[-1].bias,
        lambda m: m.encoders[1].layers[-1].bias,
        lambda m: m.decoders[1].layers[-1].bias,
    )
    found = []
    with jax.enable_x64(True):
        double = jax.tree_util.tree_map(
            lambda leaf: np.asarray(leaf, np.float64) if eqx.is_inexact_array(leaf) else leaf, model
        )
        for place in places:
            bias = place(double)
            slopes = []
            for row in np.eye(len(bias)):
                ends = [enumerated(eqx.tree_at(place, double, bias + s * 1e-5 * row)) for s in (1, -1)]
                slopes.append((ends[0] - ends[1]) / 2e-5)
            found.append(slopes)
    return np.concatenate(found)


@pytest.fixture(scope="module")
def truth():
    models = [model_of([2, 2], n_hidden) for n_hidden in (0, 1)]
    return [(model, exact_gradients(model)) for model in models]


@pytest.mark.parametrize(
    ("name", "n_hidden"),
    [
        pytest.param(name, n_hidden, marks=[pytest.mark.slow] * ((name, n_hidden) not in QUICK))
        for name in NAMES
        for n_hidden in (0, 1)
    ],
)
def test_two_layers_are_unbiased(name, n_hidden, truth):
    """7 comparisons within 6 standard errors, and the value itself."""
    model, expected = truth[n_hidden]
    controls = start_controls(name, model, 1, key=jax.random.key(1))

    def one(key):
        value, slopes = eqx.filter_value_and_grad(
            lambda m: negative_elbo(m, controls, X, name=name, key=key)
        )(model)
        biases = [slopes.encoders[0], slopes.encoders[1], slopes.decoders[1]]
        return value, jnp.concatenate([own.layers[-1].bias for own in biases])

    values, sample = (
        np.asarray(a, np.float64) for a in jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(2), N))
    )
    assert abs(values.mean() - enumerated(model)) < 6 * values.std() / np.sqrt(N)
    error = sample.std(0) / np.sqrt(N) + 1e-6
    assert (np.abs(sample.mean(0) - expected) / error).max() < 6


@pytest.mark.slow
def test_a_run_and_its_page(tmp_path, capsys):
    images = np.random.default_rng(0).random((40, 4, 3)).astype(np.float32)
    np.savez(tmp_path / "pictures.npz", images=images)
    options = [
        "--data",
        str(tmp_path / "pictures.npz"),
        "--n-steps",
        "4",
        "--batch-size",
        "5",
        "--n-variance",
        "2",
    ]
    options += [
        "--n-seeds",
        "2",
        "--n-layers",
        "2",
        "--n-hidden",
        "1",
        "--control-hidden",
        "1",
        "--estimators",
        "RELAX",
    ]
    folder = tmp_path / "run"
    command = ["run", "relax-dvae", *options, "--run-dir", str(folder)]
    assert main(command) == 0
    numbers = {n["name"]: n for n in json.loads((folder / "result.json").read_text())["numbers"]}
    assert numbers["held-out ELBO (RELAX)"]["n"] == 2
    assert all(np.isfinite(n["value"]) for n in numbers.values())
    assert (folder / "figures" / "estimators.svg").exists()
    capsys.readouterr()
    with pytest.raises(ArgumentError, match="n_layers must be at least 1, got 0"):
        relax_dvae.run(relax_dvae.Config(n_layers=0), Run(tmp_path / "other"))
    with pytest.raises(ArgumentError, match="estimators must name at least one"):
        relax_dvae.run(relax_dvae.Config(estimators=()), Run(tmp_path / "another"))
