"""Windows of irregular series: some rows of context and those that come after them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from backthrough.core import ArgumentError, DataError
from backthrough.datasets import SeriesTable
from backthrough.latent import Observations, pad_series

FEWEST = 8
LONGEST_HORIZON = 50
MOST_WINDOWS = 4000


class Window(NamedTuple):
    """Some rows of one series, in the table's units."""

    times: Float[np.ndarray, "time"]
    values: Float[np.ndarray, "time column"]


class Scale(NamedTuple):
    """What makes windows alike: each is centred on its own context, and all are divided by one spread.

    Attributes:
        level: Mean of each column, for a context in which it is missing.
        spread: Standard deviation of each column in centred windows.
        length: Time of a typical horizon.
    """

    level: Float[np.ndarray, "column"]
    spread: Float[np.ndarray, "column"]
    length: float

    def centre(self, window: Window, n_context: int) -> Float[np.ndarray, "column"]:
        """The mean of each column in the context of a window."""
        rows = window.values[:n_context]
        seen = np.isfinite(rows)
        sums = np.where(seen, rows, 0.0).sum(0)
        return np.where(seen.any(0), sums / np.maximum(seen.sum(0), 1), self.level)


def choose_sizes(
    table: SeriesTable, context: int = 0, horizon: int = 0, *, held_out: bool = False
) -> tuple[int, int]:
    """Rows of context and horizon; 0 asks for the default.

    Args:
        table: The series.
        context: Rows that a forecast sees; three horizons by default, or what there is.
        horizon: Rows that are forecast; a tenth of the shortest series by default, at most 50.
        held_out: Whether another horizon of rows is kept to measure the forecast by.

    Raises:
        DataError: if a series is too short for any.
        ArgumentError: if it is too short for these.
    """
    counts = [int(np.isfinite(values).any(axis=1).sum()) for values in table.values]
    shortest = int(np.argmin(counts))
    if counts[shortest] < FEWEST:
        raise DataError(
            f"{table.source}: series {table.ids[shortest]!r} has {counts[shortest]} rows with a value; "
            f"a forecast needs {FEWEST} at the least"
        )
    rows = min(len(times) for times in table.times)
    horizon = horizon or min(LONGEST_HORIZON, max(2, rows // 10))
    needed = 2 if held_out else 1
    room = rows - needed * horizon
    why = ", one to learn from and one held out to measure by" if held_out else ""
    if room < 1:
        raise ArgumentError(
            f"a horizon of {horizon} rows is too long for the shortest series of {rows} rows: {needed} such "
            f"stretch{'es' if held_out else ''}{why} must fit beside a row of context; choose a horizon of "
            f"at most {(rows - 1) // needed}"
        )
    if context > room:
        raise ArgumentError(
            f"a context of {context} rows is too long for the shortest series of {rows} rows with a horizon "
            f"of {horizon}{why}; choose at most {room}"
        )
    return context or min(3 * horizon, room), horizon


def before_the_last(table: SeriesTable, n_rows: int) -> SeriesTable:
    """The series without their last rows."""
    return replace(
        table,
        times=tuple(times[:-n_rows] for times in table.times),
        values=tuple(values[:-n_rows] for values in table.values),
    )


def cut_windows(table: SeriesTable, context: int, horizon: int) -> list[Window]:
    """All windows of the series with values before and after; evenly thinned where there are too many."""
    length, windows = context + horizon, []
    for times, values in zip(table.times, table.values, strict=True):
        for first in range(len(times) - length + 1):
            part = slice(first, first + length)
            seen = np.isfinite(values[part])
            if seen[:context].any() and seen[context:].any():
                windows.append(Window(times[part], values[part]))
    if not windows:
        raise DataError(f"{table.source}: no window of {length} rows has values before and after")
    kept = np.unique(np.linspace(0, len(windows) - 1, min(len(windows), MOST_WINDOWS)).astype(int))
    return [windows[index] for index in kept]


def last_windows(table: SeriesTable, context: int, horizon: int) -> list[Window]:
    """For each series the window that ends with it."""
    _check_lengths(table, context + horizon)
    return [
        Window(times[-context - horizon :], values[-context - horizon :])
        for times, values in zip(table.times, table.values, strict=True)
    ]


def next_windows(table: SeriesTable, context: int, horizon: int) -> list[Window]:
    """For each series a window that goes on beyond its end; the times there are a median gap apart."""
    _check_lengths(table, max(context, 2))
    windows = []
    for times, values in zip(table.times, table.values, strict=True):
        after = times[-1] + np.median(np.diff(times)) * np.arange(1, horizon + 1)
        nothing = np.full((horizon, values.shape[1]), np.nan)
        windows.append(
            Window(np.concatenate([times[-context:], after]), np.concatenate([values[-context:], nothing]))
        )
    return windows


def _check_lengths(table: SeriesTable, n_rows: int) -> None:
    for name, times in zip(table.ids, table.times, strict=True):
        if len(times) < n_rows:
            raise DataError(f"{table.source}: series {name!r} has {len(times)} rows; {n_rows} are needed")


def measure_scale(windows: Sequence[Window], n_context: int) -> Scale:
    """The scale of the training windows; a column that never varies has the spread 1."""
    rows = np.concatenate([window.values for window in windows])
    seen = np.isfinite(rows)
    level = np.where(seen, rows, 0.0).sum(0) / np.maximum(seen.sum(0), 1)
    raw = Scale(level, np.ones_like(level), 1.0)
    centred = np.concatenate([window.values - raw.centre(window, n_context) for window in windows])
    spread = np.sqrt(np.square(np.where(seen, centred, 0.0)).sum(0) / np.maximum(seen.sum(0), 1))
    length = float(np.median([window.times[-1] - window.times[n_context - 1] for window in windows]))
    return Scale(level, np.where(spread > 0, spread, 1.0), length)


def stack_windows(windows: Sequence[Window], scale: Scale, n_context: int) -> Observations:
    """Scaled windows as one batch; time is 0 at the last row of the context."""
    times = [(window.times - window.times[n_context - 1]) / scale.length for window in windows]
    values = [(window.values - scale.centre(window, n_context)) / scale.spread for window in windows]
    return pad_series(times, values)
