import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from backthrough.core import ArgumentError
from backthrough.train import fit, moving_average, over_seeds
from train.problem import BATCH, Batches, data, initial, open_run, plain, step, train


def recording(state, batch, *, key):
    """A step whose metric tells each weight."""
    new, _ = step(state, batch, key=key)
    return new, {"weight": new["weight"][1]}


def test_the_average_is_that_of_the_definition_and_resumes(tmp_path):
    averaged = moving_average(recording, lambda state: {"weight": state["weight"], "n": "x"}, decay=0.9)
    start = averaged.start(initial())
    fitted = train(25, step=averaged, state=start, log_every=1)
    weights = np.array([row["weight"] for row in fitted.metrics])
    powers = 0.9 ** np.arange(25)[::-1]
    average = fitted.state.average
    np.testing.assert_allclose(average["weight"][1], powers @ weights / powers.sum(), rtol=1e-5)
    assert average["n"] == "x"
    assert plain(fitted.state.state) == plain(train(25, step=recording, log_every=1).state)
    optax_s = optax.ema(0.9, debias=True)
    memory = optax_s.init(jnp.zeros(()))
    for weight in weights:
        expected, memory = optax_s.update(jnp.asarray(weight), memory)
    np.testing.assert_allclose(average["weight"][1], expected, rtol=1e-5)

    def stopping(state, *, key):
        if int(state.state["count"]) == 10:
            raise KeyboardInterrupt
        return {"a": 0.0}

    options = {"step": averaged, "state": start, "evaluate_every": 10, "log_every": 1}
    with pytest.raises(KeyboardInterrupt):
        train(25, run=open_run(tmp_path), evaluate=stopping, **options)
    resumed = train(
        25, run=open_run(tmp_path, resume=True), evaluate=lambda state, *, key: {"a": 0.0}, **options
    )
    assert plain(resumed.state) == plain(fitted.state)


def test_narrow_numbers_are_averaged_in_32_bits():
    averaged = moving_average(step, lambda state: state["half"], decay=0.999)
    fitted = train(50, step=averaged, state=averaged.start(initial()))
    assert fitted.state.average.dtype == jnp.float32
    assert 0.6 < float(fitted.state.average[0]) < 1.0


def test_many_seeds_are_averaged_one_by_one():
    averaged = moving_average(recording, lambda state: state["weight"], decay=0.5)

    def start(key):
        return averaged.start({**initial(), "weight": jax.random.normal(key, (4,)), "name": None})

    state = jax.vmap(start)(jax.random.split(jax.random.key(0), 3))
    batches = Batches(data(), BATCH, seed=1)
    fitted = fit(over_seeds(averaged, 3), state, batches, n_steps=5, key=jax.random.key(1), log_every=1)
    weights = np.array([row["weight"] for row in fitted.metrics])
    powers = 0.5 ** np.arange(5)[::-1]
    np.testing.assert_allclose(fitted.state.average[:, 1], powers @ weights / powers.sum(), rtol=1e-5)


@pytest.mark.parametrize("decay", [1.0, -0.1, float("nan")])
def test_a_decay_outside_its_range_is_refused(decay):
    with pytest.raises(ArgumentError, match=r"decay must lie in \[0, 1\), got"):
        moving_average(step, lambda state: state, decay=decay)
