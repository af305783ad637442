"""Shards on four virtual CPU devices (conftest.py makes them)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backthrough.core import ArgumentError, Interrupted
from backthrough.train import Run, Stream, fit, mean_over_shards
from train.problem import evaluate, initial, open_run, plain, sharded_step, train


def test_the_numbers_depend_on_the_shards_and_not_on_the_devices():
    runs = [train(40, step=sharded_step, shards=4, devices=n, log_every=4) for n in (1, 2, 4)]
    for other in runs[1:]:
        np.testing.assert_allclose(other.state["weight"], runs[0].state["weight"], rtol=1e-5)
        for row, expected in zip(other.metrics, runs[0].metrics, strict=True):
            assert row["loss"] == pytest.approx(expected["loss"], rel=1e-4)
    one = train(40, step=sharded_step)
    assert not np.allclose(one.state["weight"], runs[0].state["weight"], rtol=1e-5)  # other noise


def test_a_step_without_noise_gives_one_devices_numbers_on_any_number():
    def deterministic(state, batch, *, key):
        gradient = jax.grad(lambda w: jnp.mean((batch["x"] @ w - batch["y"]) ** 2))(state)
        return state - 0.02 * mean_over_shards(gradient), {"size": jnp.sum(state**2)}

    expected = train(30, step=deterministic, state=jnp.zeros(4)).state
    for devices in (2, 4):
        found = train(30, step=deterministic, state=jnp.zeros(4), devices=devices).state
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_outside_fit_the_mean_is_the_value():
    np.testing.assert_array_equal(mean_over_shards({"a": jnp.arange(3.0)})["a"], [0, 1, 2])


def test_a_state_that_differs_between_shards_is_refused_before_compiling():
    def forgetful(state, batch, *, key):
        gradient = jax.grad(lambda w: jnp.mean((batch["x"] @ w - batch["y"]) ** 2))(state)
        return state - 0.02 * gradient, {"a": jnp.zeros(())}

    for shards, devices in ((2, 1), (4, 4)):
        with pytest.raises(ArgumentError, match=r"differs between the \d shards .* train.mean_over_shards"):
            train(step=forgetful, state=jnp.zeros(4), shards=shards, devices=devices)


def test_what_does_not_fit_is_named_with_the_nearest_that_does():
    with pytest.raises(ArgumentError, match=r"a batch of 8 rows cannot be cut into 3 shards.* is 9"):
        train(step=sharded_step, shards=3)
    with pytest.raises(ArgumentError, match=r"devices=9 were asked for and there are 4"):
        train(step=sharded_step, devices=9)
    with pytest.raises(ArgumentError, match=r"shards=6 cannot be shared out among 4 devices.* is 8"):
        train(step=sharded_step, shards=6, devices=4)
    with pytest.raises(ArgumentError, match="devices must be at least 1, got 0"):
        train(step=sharded_step, devices=0)


@pytest.mark.parametrize(("before", "after"), [(4, 1), (1, 4), (4, 2)])
def test_a_checkpoint_of_many_devices_is_read_by_another_number(tmp_path, before, after):
    options = {"step": sharded_step, "shards": 4, "evaluate_every": 10}
    expected = train(run=open_run(tmp_path / "whole"), evaluate=evaluate, **options)

    def stopping(state, *, key):
        if int(state["count"]) == 30:
            raise KeyboardInterrupt
        return evaluate(state, key=key)

    with pytest.raises((KeyboardInterrupt, Interrupted)):
        train(
            run=open_run(tmp_path / "moved"),
            evaluate=stopping,
            devices=before,
            checkpoint_every=10,
            **options,
        )
    resumed = train(
        run=open_run(tmp_path / "moved", resume=True), evaluate=evaluate, devices=after, **options
    )
    np.testing.assert_allclose(resumed.state["weight"], expected.state["weight"], rtol=1e-5)
    assert [row["step"] for row in resumed.metrics] == [row["step"] for row in expected.metrics]


def test_a_stream_is_cut_too():
    def batch(step):
        generator = np.random.default_rng(step)
        return {name: generator.normal(size=(8, 4)[: 2 if name == "x" else 1]).astype("f4") for name in "xy"}

    found = [
        fit(sharded_step, initial(), Stream(batch), n_steps=9, key=jax.random.key(0), shards=4, devices=n)
        for n in (1, 4)
    ]
    np.testing.assert_allclose(found[0].state["weight"], found[1].state["weight"], rtol=1e-5)


def test_the_run_may_say_where(tmp_path):
    told = train(9, step=sharded_step, run=Run(tmp_path, shards=2, devices=2)).state
    assert len(told["weight"].devices()) == 2
    np.testing.assert_allclose(
        told["weight"], train(9, step=sharded_step, shards=2).state["weight"], rtol=1e-5
    )
    one = train(9, step=sharded_step).state
    assert plain(one["weight"]) != plain(told["weight"])
