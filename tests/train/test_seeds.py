import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backthrough.core import ArgumentError, DivergenceError, Interrupted
from backthrough.report import write_page
from backthrough.train import Batches, fit, mean_over_shards, over_seeds
from train.problem import BATCH, N_FEATURES, data, open_run, plain

SEEDS = [5, 1, 9]
KEY = jax.random.key(0)


def step(state, batch, *, key):
    """No noise, so that a copy can be compared with the same training alone."""

    def loss(weight):
        return jnp.mean((batch["x"] @ weight - batch["y"]) ** 2)

    value, gradient = jax.value_and_grad(loss)(state["weight"])
    weight = state["weight"] - state["rate"] * mean_over_shards(gradient)
    return {**state, "weight": weight}, {"loss": value}


def initial(rate=0.02):
    return {"weight": jnp.zeros(N_FEATURES), "rate": jnp.asarray(rate), "name": "shared"}


def copies(rates=(0.02, 0.02, 0.02)):
    return {**jax.vmap(lambda rate: {**initial(rate), "name": None})(jnp.array(rates)), "name": "shared"}


def train_copies(n_steps=40, *, state=None, at_once=None, **options):
    batches = Batches(data(), BATCH, seed=SEEDS)
    stepping = over_seeds(step, 3, own_batches=True, at_once=at_once)
    return fit(stepping, copies() if state is None else state, batches, n_steps=n_steps, key=KEY, **options)


@pytest.mark.parametrize(("shards", "at_once"), [(1, None), (4, None), (1, 1), (4, 2)])
def test_each_copy_is_its_training_alone(shards, at_once):
    together = train_copies(log_every=4, shards=shards, at_once=at_once)
    for copy, seed in enumerate(SEEDS):
        alone = fit(step, initial(), Batches(data(), BATCH, seed=seed), n_steps=40, key=KEY, log_every=4)
        np.testing.assert_allclose(together.state["weight"][copy], alone.state["weight"], rtol=1e-5)
        for row, expected in zip(together.metrics, alone.metrics, strict=True):
            assert row["loss"][copy] == pytest.approx(expected["loss"], rel=1e-4)
    assert together.state["name"] == "shared"


@pytest.mark.parametrize("at_once", [None, 3])
def test_shared_batches_and_own_keys(at_once):
    def noisy(state, batch, *, key):
        return state + jax.random.normal(key), {"rows": batch["y"].sum()}

    batches = Batches(data(), BATCH, seed=0)
    fitted = fit(
        over_seeds(noisy, 4, at_once=at_once), jnp.zeros(4), batches, n_steps=5, key=KEY, log_every=1
    )
    assert len(np.unique(fitted.state)) == 4
    assert all(len(set(row["rows"])) == 1 for row in fitted.metrics)


def test_stopped_and_resumed_copies_have_the_same_bits(tmp_path):
    def means(state, *, key):
        return {"mean": state["weight"].mean(1)}

    def stopping(state, *, key):
        if abs(float(state["weight"][0, 0])) > 0 and not (tmp_path / "stopped").exists():
            (tmp_path / "stopped").write_text("")
            raise KeyboardInterrupt
        return means(state, key=key)

    options = {"evaluate_every": 15, "log_every": 4}
    expected = train_copies(run=open_run(tmp_path / "whole"), evaluate=means, **options)
    with pytest.raises((KeyboardInterrupt, Interrupted)):
        train_copies(run=open_run(tmp_path / "cut"), evaluate=stopping, **options)
    resumed = train_copies(run=open_run(tmp_path / "cut", resume=True), evaluate=means, **options)
    assert plain(resumed.state) == plain(expected.state)
    assert resumed.metrics == expected.metrics
    page = write_page([tmp_path / "cut"], tmp_path / "page.html").read_text()
    assert page.count("<polygon") == 2
    assert "Median of 3 copies; the band holds 80 % of them." in page


def test_divergence_names_the_copy():
    with pytest.raises(DivergenceError, match="loss of copy 1 became (inf|nan)"):
        train_copies(500, state=copies(rates=(0.02, 50.0, 0.02)))


def test_wrong_numbers_of_copies_are_refused():
    with pytest.raises(ArgumentError, match="n_seeds must be at least 1, got 0"):
        over_seeds(step, 0)
    with pytest.raises(ArgumentError, match="seed must be at least 0, got -1"):
        Batches(data(), 2, seed=[1, -1])
