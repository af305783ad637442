import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from backthrough.core import ArgumentError, DataError, DivergenceError, Interrupted, RunError
from backthrough.train import Batches, Stream, fit, load_newest, read_metrics
from train.problem import BATCH, data, evaluate, initial, open_run, plain, step, train


def reference(n_steps, seed=3):
    """The same training as a bare Python loop: batches and keys as documented."""
    batches, state = Batches(data(), BATCH, seed=1), initial()
    key, _ = jax.random.split(jax.random.key(seed))
    losses = []
    for t in range(n_steps):
        rows = batches.inputs(t)
        batch = {name: array[rows] for name, array in data().items()}
        state, metrics = step(state, batch, key=jax.random.fold_in(key, t))
        losses.append(float(metrics["loss"]))
    return state, losses


def test_equals_a_bare_loop():
    state, losses = reference(30)
    fitted = train(30, log_every=1)
    np.testing.assert_allclose(fitted.state["weight"], state["weight"], rtol=1e-5)
    np.testing.assert_allclose([row["loss"] for row in fitted.metrics], losses, rtol=1e-4)
    assert [row["step"] for row in fitted.metrics] == list(range(1, 31))
    assert int(fitted.state["count"]) == 30
    assert fitted.state["name"] == "not an array"


def test_rows_are_means_over_the_steps_they_cover():
    each = [row["loss"] for row in train(60, log_every=1).metrics]
    rows = train(60, log_every=7).metrics
    assert [row["step"] for row in rows] == [*(7 * i for i in range(1, 9)), 60]
    for i, row in enumerate(rows):
        covered = each[7 * i : 7 * i + 7]
        assert row["loss"] == sum(covered) / len(covered)


def test_bits_do_not_depend_on_the_length_of_a_dispatch():
    runs = [train(59, steps_per_dispatch=k, log_every=5) for k in (2, 7, 10, 59, None)]
    for other in runs[1:]:
        assert plain(other.state) == plain(runs[0].state)
        assert other.metrics == runs[0].metrics


def test_one_step_a_dispatch_is_the_same_training_outside_a_loop():
    np.testing.assert_allclose(
        train(20, steps_per_dispatch=1).state["weight"], train(20).state["weight"], rtol=1e-5
    )


def test_the_step_is_compiled_once():
    traces = []

    def counted(state, batch, *, key):
        traces.append(1)
        return step(state, batch, key=key)

    train(200, step=counted, evaluate=evaluate, evaluate_every=30, log_every=7)
    assert len(traces) == 2  # once for its shapes, once to compile


def test_evaluation_at_its_steps_and_at_the_end():
    fitted = train(25, evaluate=evaluate, evaluate_every=10, log_every=100)
    assert [row["step"] for row in fitted.metrics if "valid" in row] == [10, 20, 25]
    fitted = train(25, evaluate=evaluate, log_every=100)
    assert [row["step"] for row in fitted.metrics if "valid" in row] == [25]


def test_a_stream_trains_as_batches_do():
    batches = Batches(data(), BATCH, seed=1)
    stream = Stream(lambda t: jax.tree_util.tree_map(lambda a: a[batches.inputs(t)], data()))
    fitted = fit(step, initial(), stream, n_steps=20, key=jax.random.key(3))
    np.testing.assert_array_equal(fitted.state["weight"], train(20).state["weight"])


def test_numpy_and_weakly_typed_leaves_are_welcome():
    def double(state, batch, *, key):
        return (state[0] * 2, state[1] + 1.0), {"a": state[1]}

    fitted = train(3, step=double, state=(np.ones(2, np.float32), jnp.asarray(1.0)))
    np.testing.assert_array_equal(fitted.state[0], [8.0, 8.0])


# What goes wrong -----------------------------------------------------------------------------------------


def test_wrong_arguments_are_named():
    with pytest.raises(ArgumentError, match="n_steps must be at least 1, got -5"):
        train(-5)
    with pytest.raises(ArgumentError, match="evaluate_every must be at least 1"):
        train(evaluate_every=0)
    batches = Batches(data(), BATCH, seed=1)
    with pytest.raises(Exception, match="key"):
        fit(step, initial(), batches, n_steps=1, key=jnp.zeros(2, jnp.uint32))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda s, b, *, key: s, "must return"),
        (lambda s, b, *, key: (s, 1.0), "must return"),
        (lambda s, b, *, key: (s, {}), "at least one metric"),
        (lambda s, b, *, key: (s, {"loss": jnp.ones(2)}), "metric 'loss' must be a real scalar"),
        (lambda s, b, *, key: ({**s, "more": jnp.ones(2)}, {"a": 1.0}), r"state\['more'\] was absent"),
        (
            lambda s, b, *, key: ({**s, "weight": jnp.ones(2)}, {"a": jnp.ones(())}),
            r"state\['weight'\] was float\d+\[4\] and becomes float\d+\[2\]",
        ),
    ],
)
def test_a_step_that_breaks_the_contract_is_refused_before_compiling(wrong, message):
    with pytest.raises(ArgumentError, match=message):
        train(step=wrong)


def diverging(at):
    def wrong(state, batch, *, key):
        new, metrics = step(state, batch, key=key)
        loss = jnp.where(state["count"] == at, jnp.nan, metrics["loss"])
        return new, {**metrics, "loss": loss}

    return wrong


def test_divergence_names_step_and_quantity_and_keeps_the_last_good_state(tmp_path):
    run = open_run(tmp_path)
    with pytest.raises(
        DivergenceError, match=r"loss became nan at step 41\. The state after 41 steps"
    ) as info:
        train(60, step=diverging(41), run=run, log_every=1)
    good = plain(train(41).state)
    assert (info.value.step, info.value.quantity) == (41, "loss")
    assert plain(info.value.state) == good
    saved = load_newest(run.checkpoints, _arrays(initial()), config_hash=run.config_hash)
    assert saved.step == 41
    assert plain(saved.state) == _arrays(good)


def test_a_state_that_overflows_unseen_by_the_metrics_is_found():
    def hidden(state, batch, *, key):
        return state * 10, {"loss": jnp.zeros(())}

    with pytest.raises(DivergenceError, match="state became non-finite at step 38") as info:
        train(100, step=hidden, state=jnp.ones((), jnp.float32))
    np.testing.assert_allclose(info.value.state, 1e38, rtol=1e-5)


def test_a_leaf_that_starts_infinite_is_allowed():
    def track(best, batch, *, key):
        return best, {"loss": jnp.zeros(())}

    train(5, step=track, state=jnp.array(jnp.inf))


def test_an_evaluation_that_is_not_finite_stops_the_run():
    with pytest.raises(DivergenceError, match="valid became nan at evaluation after step 10"):
        train(20, evaluate=lambda state, *, key: {"valid": float("nan")}, evaluate_every=10)


# Stop and resume -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_a_resume_gives_the_same_bits(tmp_path, number, capsys):
    options = {"evaluate_every": 7, "log_every": 4}
    whole = open_run(tmp_path / "whole")
    expected = train(run=whole, evaluate=evaluate, **options)

    def stopping(state, *, key):
        if int(state["count"]) == 21:
            os.kill(os.getpid(), number)
        return evaluate(state, key=key)

    handler = signal.getsignal(number)
    with pytest.raises(Interrupted, match="stopped after step 21 of 60") as caught:
        train(run=open_run(tmp_path / "cut"), evaluate=stopping, **options)
    assert caught.value.signal == number
    assert "goes on" not in capsys.readouterr().err
    assert signal.getsignal(number) is handler
    resumed = train(run=open_run(tmp_path / "cut", resume=True), evaluate=evaluate, **options)
    assert "training: goes on from step 21 of 60" in capsys.readouterr().err
    assert plain(resumed.state) == plain(expected.state)
    assert resumed.metrics == expected.metrics
    assert (tmp_path / "cut/metrics.jsonl").read_bytes() == (tmp_path / "whole/metrics.jsonl").read_bytes()


def test_a_run_that_has_saved_no_state_goes_on_from_its_start(tmp_path, capsys):
    open_run(tmp_path)
    train(run=open_run(tmp_path, resume=True))
    assert "training: goes on from step 0 of 60: no state was saved" in capsys.readouterr().err


def test_a_finished_run_resumes_to_its_end_at_once(tmp_path):
    expected = train(run=open_run(tmp_path))
    resumed = train(run=open_run(tmp_path, resume=True))
    assert plain(resumed.state) == plain(expected.state)
    assert resumed.metrics == expected.metrics


def test_lost_metrics_are_noticed(tmp_path):
    train(run=open_run(tmp_path), log_every=1)
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(RunError, match="has lost or changed rows"):
        train(run=open_run(tmp_path, resume=True), log_every=1)


def test_a_damaged_metrics_row_is_named(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"st\n')
    with pytest.raises(RunError, match="line 2 is not a JSON object"):
        read_metrics(tmp_path / "metrics.jsonl")


def _arrays(state):
    return {name: leaf for name, leaf in state.items() if name != "name"}


def test_a_nan_in_an_evaluation_is_met_again_on_resume(tmp_path):
    def bad(state, *, key):
        return {"valid": float("nan") if int(state["count"]) == 20 else 1.0}

    for resume in (False, True):
        with pytest.raises(DivergenceError, match="evaluation after step 20"):
            train(20, run=open_run(tmp_path, resume=resume), evaluate=bad, evaluate_every=5, log_every=1)
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [row["step"] for row in rows if "loss" in row] == list(range(1, 21))
    assert [row["step"] for row in rows if "valid" in row] == [5, 10, 15]


def test_the_rows_before_a_divergence_are_kept(tmp_path):
    with pytest.raises(DivergenceError):
        train(60, step=diverging(41), run=open_run(tmp_path), log_every=1)
    assert [row["step"] for row in read_metrics(tmp_path / "metrics.jsonl")] == list(range(1, 42))


def test_an_error_in_an_evaluation_loses_no_training(tmp_path):
    def broken(state, *, key):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train(run=open_run(tmp_path), evaluate=broken)
    resumed = train(run=open_run(tmp_path, resume=True), evaluate=evaluate)
    assert plain(resumed.state) == plain(train().state)
    assert resumed.metrics == train(evaluate=evaluate).metrics


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"n_steps": 50}, "n_steps"),
        ({"seed": 4}, "key"),
        ({"log_every": 3}, "log_every"),
        ({"shards": 2, "step": lambda s, b, *, key: (s, {"loss": 1.0, "weight norm": 1.0})}, "shards"),
        ({"step": lambda s, b, *, key: (s, {"other": 1.0})}, "metrics"),
    ],
)
def test_a_resume_with_something_else_is_refused(tmp_path, change, name):
    train(run=open_run(tmp_path))
    options = {"n_steps": 60, **change}
    with pytest.raises(ArgumentError, match=f"cannot go on with .*: its {name} was"):
        train(run=open_run(tmp_path, resume=True), **options)


def test_a_resume_with_other_data_is_refused(tmp_path):
    train(run=open_run(tmp_path))
    other = {**data(), "y": data()["y"] + 1}
    for batches, name in (
        (Batches(other, BATCH, seed=1), "data"),
        (Batches(data(), 5, seed=1), "batch_size"),
    ):
        with pytest.raises(ArgumentError, match=f"its {name} was"):
            fit(
                step if name == "data" else (lambda s, b, *, key: (s, {"loss": 1.0, "weight norm": 1.0})),
                initial(),
                batches,
                n_steps=60,
                key=jax.random.key(3),
                run=open_run(tmp_path, resume=True),
            )


def test_one_run_holds_one_training(tmp_path):
    run = open_run(tmp_path)
    train(run=run)
    with pytest.raises(ArgumentError, match="has been given to fit before"):
        train(run=run)


def test_more_broken_contracts():
    def fails(match, **options):
        with pytest.raises(ArgumentError, match=match):
            train(3, **{"state": {"a": jnp.ones(2), "n": 0}, **options})

    one = {"loss": 1.0}
    fails("from 0 to 1, which is not an array", step=lambda s, b, *, key: ({**s, "n": s["n"] + 1}, one))
    fails("cannot be named 'step'", step=lambda s, b, *, key: (s, {"step": 1.0}))
    fails("must be a real scalar, got 'text'", step=lambda s, b, *, key: (s, {"loss": "text"}))
    fails("same containers", step=lambda s, b, *, key: ([s[0]], one), state=(jnp.ones(2),))
    good = {"step": lambda s, b, *, key: (s, one)}
    fails("evaluate must return a dict", **good, evaluate=lambda s, *, key: 3.0)
    fails("without the name 'step'", **good, evaluate=lambda s, *, key: {"step": 3.0})
    fails("must return scalars, got 'a'", **good, evaluate=lambda s, *, key: {"a": jnp.ones(3)})


def test_a_stream_whose_batches_differ_is_refused_with_the_step():
    def batch(t):
        return np.ones(3 if t < 2 else 4, np.float32)

    def mean(state, batch, *, key):
        return state, {"a": batch.mean()}

    with pytest.raises(DataError, match=r"the batch of step 2 has the arrays .*float32\[4\]"):
        fit(mean, jnp.ones(2), Stream(batch), n_steps=5, key=jax.random.key(0))


def test_metrics_may_be_integers_and_truth_values():
    fitted = train(2, step=lambda s, b, *, key: (s, {"i": jnp.array(3), "b": jnp.array(True)}), log_every=1)
    assert fitted.metrics[0] == {"step": 1, "b": 1.0, "i": 3.0}
