"""Tuning: the optimum of a ridge problem, guards, resuming, schedules and gaps."""

import signal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from backthrough.core import ArgumentError, DivergenceError, Interrupted
from backthrough.hyper import (
    CG,
    CentredLinear,
    Elementwise,
    GlobalHypernet,
    HyperSpace,
    Implicit,
    Linear,
    LocalHypernet,
    Problem,
    Real,
    Schedule,
    SimplifiedHypernet,
    Tuner,
    Unroll,
    best_response_gap,
    replay,
    tune,
)
from backthrough.train import Batches, Run, Stream
from oracles.ridge_response import (
    FEATURES,
    X_VALID,
    Y_VALID,
    X,
    Y,
    optimum,
    response,
    train_loss,
    valid_at,
    valid_loss,
)

KEY = jax.random.key(0)
START = jnp.zeros(FEATURES)
ONE = HyperSpace(decay=Real(1e-4, 50.0, log=True, initial=5.0))
EACH = HyperSpace(decay=Real(1e-4, 50.0, log=True, per="weight", initial=0.5))
BEST, LOSS = optimum()


def tuned(engine, space=ONE, n_steps=1500, **settings):
    return tune(train_loss, valid_loss, START, space, engine=engine, n_steps=n_steps, key=KEY, **settings)


@pytest.mark.parametrize(
    "engine",
    [
        LocalHypernet(),
        LocalHypernet(Elementwise(), n_samples=4),
        Implicit(),
        Unroll(40, optax.sgd(0.2)),
    ],
)
def test_one_regulariser_is_tuned_to_its_optimum(engine):
    high = 1.0 if isinstance(engine, Unroll) else 50.0  # above, its steps are too long
    found = tuned(engine, HyperSpace(decay=Real(1e-4, high, log=True, initial=high / 10)))
    assert abs(float(found.u[0]) - BEST) < 0.1
    assert found.valid_loss < LOSS * 1.001
    np.testing.assert_allclose(found.params, response(float(found.u[0])), atol=2e-2)
    assert found.notes == ()
    assert list(found.table()["entries"]) == [1]


def test_one_each_is_better_than_the_best_single_one():
    found = tuned(Implicit(CG(5)), EACH, 2500)
    assert valid_at(np.asarray(found.u)) < LOSS - 0.002
    gap = best_response_gap(found, key=KEY, n_steps=300)
    assert abs(gap.train_gap[0]) < 1e-4
    assert gap.left < 0.05
    assert gap.verdict().startswith("Trust it.")


def test_the_global_hypernetwork_knows_the_whole_curve():
    found = tuned(GlobalHypernet(learning_rate=1e-2), n_steps=3000)
    problem, engine, state = found.tuner.problem, found.tuner.engine, found.state
    us = jnp.linspace(-6.0, 3.0, 9)
    learned = [float(valid_loss(engine.weights(problem, state.engine, u[None], state.u))) for u in us]
    np.testing.assert_allclose(learned, [valid_at(float(u)) for u in us], rtol=0.05)
    assert abs(float(found.u[0]) - BEST) < 0.3


def test_the_simplified_algorithm_is_the_local_one_without_noise():
    simplified = tuned(SimplifiedHypernet(learning_rate=1e-2), n_steps=100)
    local = tuned(LocalHypernet(Linear()), n_steps=100, scale=1e-12)
    np.testing.assert_allclose(simplified.schedule.coordinates, local.schedule.coordinates, rtol=1e-4)
    np.testing.assert_allclose(simplified.params, local.params, rtol=1e-3, atol=1e-5)


def test_a_learned_scale_moves():
    found = tuned(LocalHypernet(entropy=1e-3), n_steps=400)
    assert abs(found.history["scale"].iloc[-1] - 0.3) > 0.01
    assert np.all(np.isfinite(found.state.log_scale))


def test_all_steps_are_one_program_and_seeds_are_mapped():
    tuner = Tuner(Problem(train_loss, valid_loss, START, ONE), LocalHypernet(), n_steps=300)
    traced = []

    @jax.jit
    def run(key):
        traced.append(1)
        init_key, step_key = jax.random.split(key)
        keys = jax.random.split(step_key, 300)
        return jax.lax.scan(lambda s, k: tuner.step(s, (None, None), key=k), tuner.init(key=init_key), keys)

    one, _ = run(KEY)
    run(jax.random.key(5))
    assert len(traced) == 1
    several, metrics = jax.vmap(run)(jnp.stack([KEY, jax.random.key(5)]))
    np.testing.assert_allclose(several.u[0], one.u, rtol=1e-4)
    assert metrics["valid loss"].shape == (2, 300)


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path):
    def run_with(batch, space=ONE, **settings):
        return tune(
            lambda w, hyper, batch: train_loss(w, hyper) + 0 * batch.sum(),
            valid_loss,
            START,
            space,
            n_steps=200,
            key=KEY,
            train_batches=Stream(batch),
            **settings,
        )

    def stopping(step):
        if step == 100:
            signal.raise_signal(signal.SIGINT)
        return np.zeros(1, np.float32)

    def going_on(step):
        return np.zeros(1, np.float32)

    whole = run_with(going_on)
    with pytest.raises(Interrupted):
        run_with(stopping, run=Run(tmp_path / "run", config={}))
    again = run_with(going_on, run=Run(tmp_path / "run", config={}, resume=True))
    np.testing.assert_array_equal(again.u, whole.u)
    np.testing.assert_array_equal(again.schedule.coordinates, whole.schedule.coordinates)
    assert again.history.equals(whole.history)
    narrow = HyperSpace(decay=Real(1e-3, 5.0, log=True, initial=5.0))
    with pytest.raises(ArgumentError, match="its space was"):
        run_with(going_on, space=narrow, run=Run(tmp_path / "run", config={}, resume=True))


def test_batches_of_both_kinds_and_keys():
    space = HyperSpace(noise=Real(0.01, 3.0, log=True, initial=1.0))

    def noisy(w, hyper, batch, *, key):
        x, y = batch
        x = x + hyper["noise"] * jax.random.normal(key, x.shape)
        return jnp.mean((x @ w - y) ** 2)

    def error(w, batch):
        x, y = batch
        return jnp.mean((x @ w - y) ** 2)

    def arrays(x, y):
        return x.astype(np.float32), y.astype(np.float32)

    found = tune(
        noisy,
        error,
        START,
        space,
        engine=LocalHypernet(train_steps=2, n_samples=8),
        n_steps=1500,
        key=KEY,
        train_batches=Batches(arrays(X, Y), 6, seed=0),
        valid_batches=Batches(arrays(X_VALID, Y_VALID), 20, seed=1),
        scale=0.5,
    )
    # Noise of the inputs is ridge with its variance: the optimum is at half the log of the penalty.
    assert abs(float(found.schedule.coordinates[-40:].mean()) - BEST / 2) < 0.35
    same = Batches(arrays(X, Y), 6, seed=0)
    found = tune(
        noisy,
        error,
        START,
        space,
        n_steps=20,
        key=KEY,
        train_batches=same,
        valid_batches=Batches(arrays(X, Y), 5, seed=3),
    )
    assert "of the same data" in found.notes[0]


def test_a_third_split_is_kept_to():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(400, FEATURES))
    y = x @ np.array([1.0, -0.5, 0.0, 0.2])
    found = tuned(Implicit(CG(5)), EACH, 1000, third_loss=lambda w: jnp.mean((x @ w - y) ** 2))
    thirds = found.history["third loss"].dropna()
    assert found.third_loss == pytest.approx(thirds.min(), rel=1e-5)
    assert found.step == int(found.history.loc[thirds.idxmin(), "step"])
    assert found.schedule.steps[-1] == found.step
    rose = thirds.iloc[-1] > 1.001 * thirds.min()
    assert any("third split was best" in note for note in found.notes) == rose


def test_a_schedule_is_kept_and_replayed(tmp_path):
    found = tuned(LocalHypernet(), n_steps=500)
    found.save(tmp_path)
    schedule = Schedule.load(tmp_path / "schedule.npz")
    np.testing.assert_array_equal(schedule.coordinates, found.schedule.coordinates)
    np.testing.assert_allclose(schedule.at(0.0), found.tuner.problem.space.initial)
    np.testing.assert_allclose(schedule.at(1.0), found.u)
    w = replay(found.tuner.problem, schedule, n_steps=800, key=KEY, learning_rate=optax.sgd(0.05))
    np.testing.assert_allclose(w, response(float(found.u[0])), atol=5e-3)
    other = Problem(train_loss, valid_loss, START, EACH)
    with pytest.raises(ArgumentError, match="they must be the same"):
        replay(other, schedule, n_steps=10, key=KEY)


def test_a_wrong_response_is_called_so():
    space = HyperSpace(decay=Real(1e-4, 50.0, log=True, initial=0.5))
    found = tune(
        train_loss, valid_loss, START, space, engine=LocalHypernet(learning_rate=1e-5), n_steps=50, key=KEY
    )
    gap = best_response_gap(found, key=KEY, n_steps=1000, at=jnp.array([[0.0], [1.0]]))
    assert gap.train_gap[0] > 0
    np.testing.assert_allclose(gap.valid_refit[1:], [valid_at(0.0), valid_at(1.0)], rtol=1e-3)
    assert gap.verdict().startswith("Do not trust it")
    assert len(gap.table()) == 3


def test_entries_that_end_at_a_bound_are_counted():
    space = HyperSpace(decay=Real(1.0, 50.0, log=True, initial=5.0))
    found = tuned(Implicit(CG(5)), space, 2000, hyper_rate=0.1)
    assert "1 of 1 entries of decay end at a bound, 1.0 or 50.0" in found.notes[0]


def test_equinox_models_in_few_bits_are_tuned():
    network = eqx.nn.MLP(FEATURES, "scalar", 8, 1, key=KEY)
    network = jax.tree_util.tree_map(
        lambda leaf: leaf.astype(jnp.bfloat16) if eqx.is_inexact_array(leaf) else leaf, network
    )
    x, y = jnp.asarray(X, jnp.bfloat16), jnp.asarray(Y, jnp.bfloat16)

    def loss(network, hyper=None):
        error = jnp.mean((jax.vmap(network)(x) - y).astype(jnp.float32) ** 2)
        return error if hyper is None else error + hyper["decay"] * jnp.sum(network.layers[0].weight ** 2)

    found = tune(loss, loss, network, ONE, n_steps=100, key=KEY)
    assert found.params.layers[0].weight.dtype == jnp.bfloat16
    assert np.isfinite(found.valid_loss)


def masked(w, hyper, *, key):
    kept = jax.random.uniform(key, X.shape) > hyper["p"]
    return jnp.mean((jnp.where(kept, X, 0) @ w - Y) ** 2)


DROPOUT = HyperSpace(p=Real(0.05, 0.9, logit=True))


@pytest.mark.parametrize(
    ("losses", "space", "settings", "message"),
    [
        ((lambda w, hyper: valid_loss(w), valid_loss), ONE, {}, "decay does not change the training loss"),
        ((masked, valid_loss), DROPOUT, {"engine": Implicit()}, "no derivative by p"),
        ((train_loss, lambda w: jnp.mean(w[:0])), ONE, {}, "valid_loss is nan at the initial parameters"),
        ((train_loss, lambda w: w), ONE, {}, "valid_loss must return one number"),
        ((train_loss, valid_loss), ONE, {"warm_up": 10}, "leaves no step"),
        ((train_loss, valid_loss), ONE, {"scale": 0.0}, "scale must be finite and greater than zero"),
        ((train_loss, valid_loss), ONE, {"engine": Implicit}, "engine must be an engine"),
        ((train_loss, valid_loss), ONE, {"patience": 3}, "give third_loss"),
        ((train_loss, valid_loss), ONE, {"train_batches": [1]}, "train_batches must be Batches"),
        (
            (train_loss, valid_loss),
            HyperSpace(decay=Real(log=True)),
            {"engine": GlobalHypernet()},
            "needs two bounds",
        ),
    ],
)
def test_what_cannot_work_is_refused_by_name(losses, space, settings, message):
    with pytest.raises(ArgumentError, match=message):
        tune(*losses, START, space, n_steps=10, key=KEY, **settings)


def test_dropout_is_tuned_by_a_hypernetwork_without_derivatives():
    found = tune(masked, valid_loss, START, DROPOUT, engine=LocalHypernet(n_samples=4), n_steps=50, key=KEY)
    assert (found.history["hypergradient of p"].iloc[10:] > 0).all()
    assert float(found.u[0]) != float(found.tuner.problem.space.initial[0])


def test_what_diverges_is_named():
    with pytest.raises(DivergenceError, match="loss became inf at step"):
        tuned(LocalHypernet(learning_rate=optax.sgd(1e6)), n_steps=200)
    saddle = HyperSpace(decay=Real(0.1, 1.0, log=True))
    with pytest.raises(DivergenceError, match="raise the damping"):
        tune(
            lambda w, hyper: w[0] ** 2 - w[1] ** 2 + hyper["decay"] * w[1],
            lambda w: w[0] + 2 * w[1],
            jnp.array([0.0, 1.0]),
            saddle,
            engine=Implicit(learning_rate=1e-4),
            n_steps=30,
            key=KEY,
        )


def test_figures(tmp_path):
    from matplotlib.figure import Figure

    found = tuned(LocalHypernet(), n_steps=100)
    axes = found.plot(Figure().subplots())
    assert axes.get_yscale() == "log"
    many = HyperSpace(decay=Real(1e-4, 50.0, log=True, shape=(20,)))
    losses = (lambda w, hyper: jnp.sum(hyper["decay"]) * jnp.sum(w**2) + valid_loss(w), valid_loss)
    found = tune(*losses, START, many, engine=LocalHypernet(CentredLinear()), n_steps=20, key=KEY)
    assert len(found.plot(Figure().subplots()).collections) == 1
