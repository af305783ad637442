import jax
import numpy as np
import pytest

from backthrough.core import ArgumentError, DataError
from backthrough.train import Batches, Stream, fitting_batch_size


@pytest.mark.parametrize(("n_data", "batch_size"), [(12, 4), (10, 3), (7, 7), (5, 4)])
def test_every_row_is_used_once_an_epoch(n_data, batch_size):
    batches = Batches(np.arange(n_data), batch_size, seed=0)
    stream = np.concatenate([batches.inputs(t) for t in range(5 * n_data)])
    epochs = stream[: len(stream) // n_data * n_data].reshape(-1, n_data)
    for epoch in epochs:
        assert sorted(epoch) == list(range(n_data))
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_a_batch_depends_on_seed_and_step_alone():
    first, second = (Batches(np.arange(100), 9, seed=4) for _ in range(2))
    forward = [first.inputs(t) for t in range(60)]
    backward = [second.inputs(t) for t in reversed(range(60))]
    np.testing.assert_array_equal(forward, backward[::-1])
    other = Batches(np.arange(100), 9, seed=5)
    assert (other.inputs(0) != forward[0]).any()


def test_fetch_takes_the_same_rows_of_every_array():
    data = {"x": np.arange(20.0).reshape(10, 2), "y": np.arange(10)}
    batches = Batches(data, 3, seed=0)
    batch = batches.fetch(batches.data, batches.inputs(2))
    np.testing.assert_array_equal(batch["x"][:, 0], 2 * batch["y"])


def test_bad_data_and_sizes_are_named():
    with pytest.raises(ArgumentError, match=r"batch_size 11 is larger than the data \(10 rows\)"):
        Batches(np.zeros(10), 11, seed=0)
    with pytest.raises(ArgumentError, match="batch_size must be at least 1, got 0"):
        Batches(np.zeros(10), 0, seed=0)
    with pytest.raises(DataError, match="the data are empty"):
        Batches(np.zeros((0, 3)), 1, seed=0)
    with pytest.raises(DataError, match="no arrays"):
        Batches({}, 1, seed=0)
    with pytest.raises(DataError, match=r"one common leading axis, got .*\(3,\).*\(4,\)"):
        Batches({"x": np.zeros(3), "y": np.zeros(4)}, 1, seed=0)
    with pytest.raises(DataError, match="one common leading axis"):
        Batches({"x": np.zeros(3), "y": np.zeros(())}, 1, seed=0)


def test_what_jax_cannot_hold_is_refused():
    with pytest.raises(DataError, match="must be numbers"):
        Batches(np.array(["a", "b"]), 1, seed=0)
    if not jax.config.read("jax_enable_x64"):
        with pytest.raises(DataError, match="integers beyond 32 bits"):
            Batches(np.array([2**40, 1]), 1, seed=0)


def test_a_stream_gives_what_its_function_gives():
    stream = Stream(lambda step: {"x": np.array([step, step + 1])})
    np.testing.assert_array_equal(stream.inputs(5)["x"], [5, 6])
    assert stream.fetch(None, stream.inputs(5))["x"][0] == 5
    np.testing.assert_array_equal(stream.inputs(5, slice(1, 2))["x"], [6])


def test_a_stream_by_rows_is_asked_for_no_more_than_it_must_make():
    asked = []

    def batch(step, rows):
        asked.append(rows)
        return np.arange(rows.start, rows.stop)

    stream = Stream(batch, batch_size=6)
    np.testing.assert_array_equal(stream.inputs(0, slice(2, 4)), [2, 3])
    np.testing.assert_array_equal(stream.inputs(0), np.arange(6))
    assert asked == [slice(2, 4, 1), slice(0, 6, 1)]
    with pytest.raises(ArgumentError, match="batch_size must be at least 1"):
        Stream(batch, batch_size=0)


def test_a_batch_larger_than_the_data_shrinks_with_a_word():
    assert fitting_batch_size(10, 10) == 10
    with pytest.warns(UserWarning, match="batches have 10 rows, all that there are, and not 11 as asked for"):
        assert fitting_batch_size(11, 10) == 10
    with pytest.raises(ArgumentError, match="batch_size must be at least 1, got 0"):
        fitting_batch_size(0, 10)
