"""Windows of series, their sizes, and the forecasts that need no model."""

import numpy as np
import pytest

from backthrough.core import ArgumentError, DataError
from backthrough.datasets import SeriesTable
from backthrough.forecast import (
    Window,
    before_the_last,
    choose_sizes,
    cut_windows,
    last_windows,
    measure_scale,
    naive_forecasts,
    next_windows,
    stack_windows,
)

TINY = ["--n-steps=4", "--hidden-size=4", "--latent-size=2", "--n-draws=20", "--batch-size=4"]


def table(*lengths):
    times = tuple(np.cumsum(1.0 + np.arange(n) % 3) for n in lengths)
    values = tuple(np.stack([3 * t - 5, np.full(len(t), 7.0)], axis=1) for t in times)
    return SeriesTable(("line", "flat"), tuple("abc"[: len(lengths)]), times, values, False, "t.csv")


def test_no_window_to_train_on_reaches_the_held_out_rows():
    own = table(40, 25)
    context, horizon = choose_sizes(own, held_out=True)
    assert (context, horizon) == (6, 2)
    cut = cut_windows(before_the_last(own, horizon), context, horizon)
    assert len(cut) == sum(n - horizon - (context + horizon) + 1 for n in (40, 25))
    last = max(window.times[-1] for window in cut)
    assert last == own.times[0][-horizon - 1]
    held, ahead = last_windows(own, context, horizon), next_windows(own, context, horizon)
    np.testing.assert_array_equal(held[1].times[context:], own.times[1][-horizon:])
    np.testing.assert_array_equal(ahead[0].times[:context], own.times[0][-context:])
    np.testing.assert_allclose(np.diff(ahead[0].times[context - 1 :]), np.median(np.diff(own.times[0])))


def test_the_straight_line_is_what_a_line_forecasts():
    own = table(30)
    context, horizon = choose_sizes(own, 5, 4, held_out=True)
    held = last_windows(own, context, horizon)
    scale = measure_scale(cut_windows(own, context, 4), context)
    guesses = naive_forecasts(held, scale, context)
    np.testing.assert_allclose(guesses["line"][0], held[0].values[context:], atol=1e-9)
    np.testing.assert_allclose(guesses["last value"][0, :, 0], held[0].values[context - 1, 0])
    np.testing.assert_allclose(guesses["mean"][0, :, 0], held[0].values[:context, 0].mean())
    gap = Window(held[0].times, held[0].values.copy())
    gap.values[:context, 0] = np.nan  # nothing to go by: the level of the series
    for guess in naive_forecasts([gap], scale, context).values():
        np.testing.assert_allclose(guess[0, :, 0], scale.level[0])


def test_scaled_windows_are_centred_and_of_spread_one():
    own = table(40)
    cut = cut_windows(before_the_last(own, 2), 6, 2)
    scale = measure_scale(cut, 6)
    batch = stack_windows(cut, scale, 6)
    np.testing.assert_allclose(batch.values[:, :6].mean(1), 0, atol=1e-5)
    np.testing.assert_allclose(np.square(batch.values[..., 0]).mean(), 1, rtol=1e-5)
    np.testing.assert_array_equal(batch.times[:, 5], 0)
    assert scale.spread[1] == 1  # the flat column is left as it is


def test_too_few_rows_are_named():
    with pytest.raises(DataError, match=r"t.csv: series 'b' has 7 rows with a value; a forecast needs 8"):
        choose_sizes(table(20, 7))
    with pytest.raises(ArgumentError, match=r"a context of 5 rows is too long .* choose at most 2"):
        choose_sizes(table(20), 5, 9, held_out=True)
    with pytest.raises(ArgumentError, match=r"a horizon of 100 rows is too long .* of 60 rows.* at most 29"):
        choose_sizes(table(60), 0, 100, held_out=True)
    with pytest.raises(ArgumentError, match=r"a horizon of 60 rows is too long .* at most 59"):
        choose_sizes(table(60), 0, 60)
    assert choose_sizes(table(60), 0, 29, held_out=True) == (2, 29)
    assert choose_sizes(table(60), 0, 59) == (1, 59)
    with pytest.raises(DataError, match=r"series 'a' has 20 rows; 25 are needed"):
        last_windows(table(20), 15, 10)
