"""Frames and arrays as series, and times as their frames write them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from backthrough.core import ArgumentError, DataError, check_choice
from backthrough.datasets import SeriesTable

EPOCH = pd.Timestamp("1970-01-01")
DAY = pd.Timedelta(days=1)


def series_of(
    table: Any, *, time: str | None = None, series: str | None = None, columns: Sequence[str] = ()
) -> SeriesTable:
    """The series of a frame or array.

    Args:
        table: A `SeriesTable` (returned as it is), a frame, or an array of shape (time,) or (time, column)
            whose rows are one time unit apart. NaN is a missing value.
        time: The column of times, numbers or dates; the index of the frame by default.
        series: The column that names the series of a row; without one all rows are one series.
        columns: The columns of values; all others when none is named.

    Returns:
        The series, each in the order of its times, in the order in which they first occur.

    Raises:
        ArgumentError: if a column is missing.
        DataError: naming what is missing among the times, occurs twice, or is no number.
    """
    if isinstance(table, SeriesTable):
        return table
    if isinstance(columns, str):
        raise ArgumentError(f"columns must be a sequence of names, such as [{columns!r}], got {columns!r}")
    table = _frame_of(table)
    if len(table) == 0:
        raise DataError("the table has no rows")
    if table.index.name is not None and str(table.index.name) not in table.columns:
        table = table.reset_index().rename(columns=str)
        time = str(table.columns[0]) if time is None else time
    known = list(table.columns)
    time, series = (None if name is None else str(name) for name in (time, series))
    columns = tuple(str(name) for name in columns)
    for name, role in ((time, "time column"), (series, "series column"), *((c, "column") for c in columns)):
        if name is not None:
            check_choice(role, name, known)
    names = columns or tuple(name for name in known if name not in (time, series))
    if not names or len({*names, time, series}) < len(names) + 2 - (time is series):
        raise ArgumentError("time, series and value columns must differ, with a value column at least")
    times, dated, zone = _numbers_of_times(
        table.index.to_series() if time is None else _eight_digit_dates(pd.Series(table[time]))
    )
    values = np.stack([_numbers(pd.Series(table[name]), name) for name in names], axis=1)
    if series is not None and table[series].isna().any():
        raise DataError(f"row {int(np.flatnonzero(table[series].isna())[0])} names no series")
    labels = np.full(len(table), "series") if series is None else table[series].astype(str).to_numpy()
    ids, parts = tuple(dict.fromkeys(labels.tolist())), []
    for name in ids:
        own = np.flatnonzero(labels == name)
        own = own[np.argsort(times[own], kind="stable")]
        twice = np.flatnonzero(np.diff(times[own]) == 0)
        if len(twice):
            rows = own[twice[0]], own[twice[0] + 1]
            raise DataError(f"series {name!r} has one time twice, in rows {rows[0]} and {rows[1]}")
        parts.append((times[own], values[own]))
    return SeriesTable(
        names=names,
        ids=ids,
        times=tuple(own for own, _ in parts),
        values=tuple(own for _, own in parts),
        dated=dated,
        source="the table",
        time=time or "",
        series=series or "",
        zone=zone,
    )


def check_observed(table: SeriesTable) -> None:
    """Refuses a column without a value.

    Raises:
        DataError: naming it.
    """
    for index, name in enumerate(table.names):
        if not any(np.isfinite(values[:, index]).any() for values in table.values):
            raise DataError(f"{table.source}: column {name!r} has no value at all; leave it out")


def shown_times(times: Float[np.ndarray, "time"], table: SeriesTable) -> Any:
    """Times as their table has them: numbers, or dates to the millisecond, in its time zone."""
    if not table.dated:
        return times
    dates = pd.to_datetime(times, unit="D").round("ms")
    return dates.tz_localize("UTC").tz_convert(table.zone) if table.zone else dates


def _frame_of(table: Any) -> pd.DataFrame:
    """A frame whose columns are named by strings."""
    if isinstance(table, pd.Series):
        table = table.to_frame("column 0" if table.name is None else str(table.name))
    if isinstance(table, pd.DataFrame):
        return table.rename(columns=str)
    values = np.asarray(table, np.float64)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or values.size == 0:
        raise DataError(f"series must have the shape (time,) or (time, column), got {values.shape}")
    return pd.DataFrame(values, columns=[f"column {index}" for index in range(values.shape[1])])


def _eight_digit_dates(column: pd.Series) -> pd.Series:
    """Whole numbers that are all dates, such as 20240301, as dates; others as they are."""
    if not pd.api.types.is_integer_dtype(column) or not column.between(10_000_101, 99_991_231).all():
        return column
    dates = pd.to_datetime(column.astype(str), format="%Y%m%d", errors="coerce")
    return column if dates.isna().any() else dates


def _numbers_of_times(column: pd.Series) -> tuple[Float[np.ndarray, "row"], bool, str]:
    """Times as numbers, whether they are dates (then days since 1970-01-01, in UTC), and their zone."""
    if column.isna().any():
        raise DataError(f"row {int(np.flatnonzero(column.isna())[0])} has no time")
    if pd.api.types.is_numeric_dtype(column):
        times = column.to_numpy(np.float64)
        if not np.isfinite(times).all():
            raise DataError(f"the time of row {int(np.flatnonzero(~np.isfinite(times))[0])} is not finite")
        return times, False, ""
    try:
        dates = pd.DatetimeIndex(
            pd.to_datetime(column, format=None if column.dtype.kind == "M" else "ISO8601")
        )
    except (ValueError, TypeError) as error:
        raise DataError(
            f"times must be numbers, dates or ISO texts such as 2024-03-01, got {column.iloc[0]!r}; others "
            "are read by pandas.to_datetime(column, format=...)"
        ) from error
    zone = "" if dates.tz is None else str(dates.tz)
    if zone:
        dates = dates.tz_convert("UTC").tz_localize(None)
    return np.asarray((dates - EPOCH) / DAY, np.float64), True, zone


def _numbers(column: pd.Series, name: str) -> Float[np.ndarray, "row"]:
    if column.dtype.kind in "mM" or isinstance(column.dtype, pd.DatetimeTZDtype):
        raise DataError(f"column {name!r} holds dates; name it as the time column, or choose columns=[...]")
    try:
        values = column.to_numpy(np.float64, na_value=np.nan)
    except (ValueError, TypeError) as error:
        raise DataError(f"column {name!r} does not hold numbers: {error}") from error
    if np.isinf(values).any():
        raise DataError(f"column {name!r} is infinite in row {int(np.flatnonzero(np.isinf(values))[0])}")
    return values
