"""A user's own time series from a CSV file: irregular times, gaps, several series by a name."""

import datetime
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from backthrough.core import ArgumentError, DataError
from backthrough.datasets.cells import MISSING
from backthrough.datasets.tables import _check_column, _check_header, _decode, _is_number, _records, _sniff

DAY = 86400.0


@dataclass(frozen=True)
class SeriesTable:
    """Several series of the same quantities, each in the order of its times.

    Attributes:
        names: The quantities.
        ids: The name of each series.
        times: The times of each series: as in the file, or days since 1970-01-01 where they are dates.
        values: For each series one row a time and one column a quantity; NaN where a cell is missing.
        dated: Whether the times are dates.
        source: The file.
        time: The column of times; "" if they stood in no column.
        series: The column that named the series; "" if there was none.
        zone: The time zone that dates came in (their numbers are in UTC); "" if they had none.
    """

    names: tuple[str, ...]
    ids: tuple[str, ...]
    times: tuple[Float[np.ndarray, "_"], ...]
    values: tuple[Float[np.ndarray, "_ _"], ...]
    dated: bool
    source: str
    time: str = ""
    series: str = ""
    zone: str = ""


def read_series(
    path: str | Path,
    *,
    time: str,
    columns: Sequence[str] = (),
    series: str = "",
    delimiter: str | None = None,
) -> SeriesTable:
    r"""Reads time series from a CSV file with a header line, in any order of rows.

    Times are numbers, or ISO dates and times such as 2024-03-01, 20240301 or 2024-03-01T12:30. A cell of
    values may be missing: blank, NA, NaN or null.

    Args:
        path: The file.
        time: The column of times.
        columns: The columns of values; all others when none is named.
        series: The column that names the series of a row; without one all rows are one series.
        delimiter: As for `read_table`.

    Returns:
        The series, in the order in which they first occur.

    Raises:
        ArgumentError: if a column is missing, listing those there are, or is named twice.
        DataError: naming the file, the line and the column of what cannot be used, or the two lines that
            give one time of one series twice.

    Examples:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "tides.csv"
        >>> _ = path.write_text("day,port,level\n2,a,3.5\n1,a,\n1,b,0.5\n")
        >>> table = read_series(path, time="day", series="port")
        >>> table.ids, table.times[0].tolist(), table.values[0].tolist()
        (('a', 'b'), [1.0, 2.0], [[nan], [3.5]])
    """
    path = Path(path)
    text = _decode(path)
    records = _records(path, text, delimiter or _sniff(text))
    _, header = next(records)
    names = _check_header(path, header)
    for wanted, role in ((time, "time column"), (series, "series column"), *((c, "column") for c in columns)):
        if wanted or role == "time column":
            _check_column(path, wanted, names, role)
    columns = tuple(columns) or tuple(name for name in names if name not in (time, series))
    used = [time, *columns, *([series] if series else [])]
    if len(set(used)) < len(used) or not columns:
        raise ArgumentError(
            f"time, series and value columns must differ, with a value column at least, got {', '.join(used)}"
        )
    rows = []
    for line, cells in records:
        if len(cells) != len(names):
            raise DataError(
                f"{path} line {line} has {len(cells)} cells, but the header has {len(names)} columns"
            )
        rows.append((line, dict(zip(names, cells, strict=True))))
    if not rows:
        raise DataError(f"{path} has a header line and no rows")
    dated = _are_dates([cells[time] for _, cells in rows])
    found: dict[str, dict[float, tuple[int, list[float]]]] = {}
    for line, cells in rows:
        at = _time(f"{path} line {line}, column {time!r}", cells[time], dated)
        own = found.setdefault(cells[series] if series else path.stem, {})
        if at in own:
            where = f" of series {cells[series]!r}" if series else ""
            raise DataError(
                f"{path} line {line} repeats the time {cells[time]!r}{where} of line {own[at][0]}"
            )
        own[at] = (line, [_value(f"{path} line {line}, column {name!r}", cells[name]) for name in columns])
    orders = [sorted(own) for own in found.values()]
    return SeriesTable(
        names=columns,
        ids=tuple(found),
        times=tuple(np.array(order) for order in orders),
        values=tuple(
            np.array([own[at][1] for at in order]) for own, order in zip(found.values(), orders, strict=True)
        ),
        dated=dated,
        source=str(path),
        time=time,
        series=series,
    )


def _are_dates(cells: Sequence[str]) -> bool:
    """Whether the times are dates: none is a number, or all are of the form 20240301."""
    if all(len(cell) == 8 and cell.isdigit() and _date(cell) is not None for cell in cells):
        return True
    return not any(_is_number(cell) for cell in cells) and any(_date(cell) is not None for cell in cells)


def _date(cell: str) -> datetime.datetime | None:
    try:
        date = datetime.datetime.fromisoformat(cell)
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=datetime.UTC)


def _time(place: str, cell: str, dated: bool) -> float:
    if dated:
        date = _date(cell)
        if date is None:
            raise DataError(f"{place} is not an ISO date such as 2024-03-01 or 2024-03-01T12:30: {cell!r}")
        return date.timestamp() / DAY
    if not _is_number(cell) or not math.isfinite(float(cell)):
        raise DataError(f"{place} is neither a number nor an ISO date such as 2024-03-01: {cell!r}")
    return float(cell)


def _value(place: str, cell: str) -> float:
    if cell.lower() in MISSING:
        return math.nan
    if not _is_number(cell) or not math.isfinite(float(cell)):
        raise DataError(f"{place} is not a number: {cell!r}; leave a missing value blank")
    return float(cell)
