"""Keeping the best state, stopping early, and how many checkpoints stay."""

import jax
import numpy as np
import pytest

from backthrough.core import ArgumentError, Interrupted, RunError
from backthrough.train import Best, restore
from train.problem import initial, open_run, plain, sharded_step, train

VALUES = {10: 3.0, 20: 1.0, 30: 2.0, 40: 1.5, 50: 1.0, 60: 4.0}


def evaluate(state, *, key):
    return {"valid": VALUES[int(state["count"])], "other": 0.0}


def search(*, run=None, evaluate=evaluate, best, **options):
    return train(run=run, evaluate=evaluate, evaluate_every=10, best=best, log_every=10, **options)


def test_the_best_state_is_kept_in_memory_and_on_disk(tmp_path):
    lowest = search(best=Best("valid", larger_is_better=False))
    assert int(lowest.best["count"]) == 20  # the first of equals
    assert lowest.n_steps == 60
    highest = search(run=open_run(tmp_path), best=Best("valid", larger_is_better=True), checkpoint_every=5)
    assert int(highest.best["count"]) == 60
    assert plain(restore(tmp_path, initial(), best=True)) == plain(highest.best)
    assert train(6).best is None


def test_patience_ends_training_and_a_resume_of_it_makes_no_step(tmp_path):
    best = Best("valid", larger_is_better=False, patience=2)
    fitted = search(run=open_run(tmp_path), best=best, keep_checkpoints=1)
    assert (fitted.n_steps, int(fitted.state["count"]), int(fitted.best["count"])) == (40, 40, 20)
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == [f"step-{t:012d}.{end}" for t in (20, 40) for end in ("json", "npz")]
    assert plain(restore(tmp_path, initial(), best=True)) == plain(fitted.best)
    again = search(run=open_run(tmp_path, resume=True), best=best, keep_checkpoints=1)
    assert plain(again.state) == plain(fitted.state)
    assert plain(again.best) == plain(fitted.best)
    assert again.metrics == fitted.metrics


@pytest.mark.parametrize("stop", [20, 30, 40])
def test_a_stopped_search_goes_on_as_if_it_had_not_been(tmp_path, stop):
    best = Best("valid", larger_is_better=False, patience=3)
    expected = search(run=open_run(tmp_path / "whole"), best=best)
    assert expected.n_steps == 50

    def stopping(state, *, key):
        if int(state["count"]) == stop:
            raise KeyboardInterrupt
        return evaluate(state, key=key)

    with pytest.raises((KeyboardInterrupt, Interrupted)):
        search(run=open_run(tmp_path / "stopped"), best=best, evaluate=stopping)
    resumed = search(run=open_run(tmp_path / "stopped", resume=True), best=best)
    assert resumed.n_steps == expected.n_steps
    assert resumed.metrics == expected.metrics
    assert plain(resumed.best) == plain(expected.best)
    assert plain(resumed.state) == plain(expected.state)


def test_the_best_on_many_devices(tmp_path):
    best = Best("valid", larger_is_better=False)
    options = {"step": sharded_step, "shards": 4, "devices": 4}
    fitted = search(run=open_run(tmp_path), best=best, **options)
    assert int(fitted.best["count"]) == 20
    again = search(run=open_run(tmp_path, resume=True), best=best, step=sharded_step, shards=4)
    np.testing.assert_array_equal(again.best["weight"], fitted.best["weight"])


def test_wrong_use_is_named(tmp_path):
    best = Best("valid", larger_is_better=False)
    with pytest.raises(ArgumentError, match="best needs evaluate and evaluate_every"):
        train(best=best)
    with pytest.raises(ArgumentError, match="best needs 'loss' to be a number of evaluate; there are valid"):
        search(best=Best("loss", larger_is_better=False))
    with pytest.raises(ArgumentError, match="patience must be at least 1"):
        Best("valid", larger_is_better=True, patience=0)
    with pytest.raises(ArgumentError, match="keep_checkpoints must be at least 1"):
        train(keep_checkpoints=0)
    search(run=open_run(tmp_path), best=best)
    with pytest.raises(ArgumentError, match=r"its best was \['valid', False\] and is now \['valid', True\]"):
        search(run=open_run(tmp_path, resume=True), best=Best("valid", larger_is_better=True))
    train(6, run=open_run(tmp_path / "plain"))
    with pytest.raises(RunError, match="has no best state: fit was not given `best`"):
        restore(tmp_path / "plain", initial(), best=True)
    assert jax.tree_util.tree_structure(restore(tmp_path, initial())) is not None
