"""Windows of irregular series: some rows of context and those that come after them."""

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


def sizes(table: SeriesTable, context: int, horizon: int) -> tuple[int, int]:
    """Rows of context and horizon; 0 asks for the default.

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
    room = rows - 2 * horizon
    context = context or min(3 * horizon, room)
    if context < 1 or context > room:
        raise ArgumentError(
            f"the shortest series has {rows} rows: a context of {context} and twice a horizon of {horizon} "
            "do not fit; choose smaller ones"
        )
    return context, horizon


def cut(table: SeriesTable, context: int, horizon: int) -> list[Window]:
    """All windows before the held-out rows; evenly thinned where there are too many."""
    length, windows = context + horizon, []
    for times, values in zip(table.times, table.values, strict=True):
        for first in range(len(times) - horizon - length + 1):
            part = slice(first, first + length)
            seen = np.isfinite(values[part])
            if seen[:context].any() and seen[context:].any():
                windows.append(Window(times[part], values[part]))
    if not windows:
        raise DataError(f"{table.source}: no window of {length} rows has values before and after")
    kept = np.unique(np.linspace(0, len(windows) - 1, min(len(windows), MOST_WINDOWS)).astype(int))
    return [windows[index] for index in kept]


def forecast_windows(table: SeriesTable, context: int, horizon: int) -> tuple[list[Window], list[Window]]:
    """For each series the window that ends in its held-out rows, and one that goes on beyond its end.

    The times beyond the end are a median gap apart.
    """
    held, ahead = [], []
    for times, values in zip(table.times, table.values, strict=True):
        held.append(Window(times[-context - horizon :], values[-context - horizon :]))
        after = times[-1] + np.median(np.diff(times)) * np.arange(1, horizon + 1)
        nothing = np.full((horizon, values.shape[1]), np.nan)
        ahead.append(
            Window(np.concatenate([times[-context:], after]), np.concatenate([values[-context:], nothing]))
        )
    return held, ahead


def measure_scale(windows: list[Window], n_context: int) -> Scale:
    """The scale of the training windows; a column that never varies has the spread 1."""
    rows = np.concatenate([window.values for window in windows])
    seen = np.isfinite(rows)
    level = np.where(seen, rows, 0.0).sum(0) / np.maximum(seen.sum(0), 1)
    raw = Scale(level, np.ones_like(level), 1.0)
    centred = np.concatenate([window.values - raw.centre(window, n_context) for window in windows])
    spread = np.sqrt(np.square(np.where(seen, centred, 0.0)).sum(0) / np.maximum(seen.sum(0), 1))
    length = float(np.median([window.times[-1] - window.times[n_context - 1] for window in windows]))
    return Scale(level, np.where(spread > 0, spread, 1.0), length)


def stack(windows: list[Window], scale: Scale, n_context: int) -> Observations:
    """Scaled windows as one batch; time is 0 at the last row of the context."""
    times = [(window.times - window.times[n_context - 1]) / scale.length for window in windows]
    values = [(window.values - scale.centre(window, n_context)) / scale.spread for window in windows]
    return pad_series(times, values)
