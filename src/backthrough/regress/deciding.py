"""What is made of a column, and why."""

import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

from backthrough.core import DataError

Kind = Literal["number", "category", "yes or no", "date", "left out"]
TRUTHS: dict[Any, float] = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0, 1.0: 1.0, 0.0: 0.0}
EPOCH, DAY = pd.Timestamp("1970-01-01", tz="UTC"), pd.Timedelta(days=1)
DATE = re.compile(r"\d{4}-\d{1,2}-\d{1,2}([T ].*)?$")
MOSTLY = 0.8  # part of the different texts that are dates, above which the others are mistakes
ALL_DIFFERENT = 0.9  # part of the texts that differ, from which on a column names its rows
CODES = 10  # whole numbers of so few values may be codes, which the decision says
ROUNDING = 1e-12  # spread beside the size of the numbers below which they are all the same
OTHER, GONE = "other", "missing"


@dataclass(frozen=True)
class Column:
    """What is made of one column.

    Attributes:
        name: The column.
        kind: What it is taken for.
        note: Why, and what was done.
        n_missing: Cells that were missing among those it was decided by.
        fill: The number that a missing cell becomes; None for categories.
        levels: The levels of a category that have a column each.
        pooled: The rarer levels, which share one column with those that training never saw.
    """

    name: str
    kind: Kind
    note: str
    n_missing: int = 0
    fill: float | None = None
    levels: tuple[str, ...] = ()
    pooled: tuple[str, ...] = ()

    @property
    def outputs(self) -> tuple[str, ...]:
        """The columns of numbers that it becomes."""
        if self.kind == "left out":
            return ()
        if self.kind == "category":
            return tuple(
                f"{self.name} = {level}" for level in (*self.levels, *([OTHER] if self.pooled else []))
            )
        return (self.name, f"{self.name} is missing") if self.n_missing else (self.name,)


@dataclass(frozen=True)
class Decisions:
    """What is made of the columns of a table.

    Attributes:
        columns: In the order of the table.
    """

    columns: tuple[Column, ...]

    @property
    def outputs(self) -> tuple[str, ...]:
        """The columns of numbers that they become."""
        return tuple(name for column in self.columns for name in column.outputs)

    def table(self) -> pd.DataFrame:
        """One row a column: name, what it is taken for, numbers that it becomes, missing cells, why."""
        rows = [(c.name, c.kind, len(c.outputs), c.n_missing, c.note) for c in self.columns]
        return pd.DataFrame(rows, columns=["column", "taken for", "numbers", "missing cells", "decision"])


def is_constant(values: Float[np.ndarray, "row ..."]) -> Any:
    """For each column whether its numbers are the same up to rounding."""
    return np.ptp(values, axis=0) <= ROUNDING * np.abs(values).max(axis=0)


def decide(name: str, cells: pd.Series, is_category: bool, most_levels: int) -> Column:
    """What is made of a column of a frame.

    Raises:
        DataError: naming row and column of what cannot be used.
    """
    present = cells.dropna()
    n_missing = len(cells) - len(present)
    if not len(present):
        return Column(name, "left out", "no cell has a value", n_missing)
    kind = "category" if is_category else _kind(present)
    if kind == "category":
        return _decide_category(name, cells, most_levels, is_named=is_category)
    numbers = numbers_of(name, kind, present)
    if is_constant(numbers):
        if not n_missing:
            return Column(name, "left out", "every row has the same value", n_missing)
        note = f"every cell with a value has the same, {present.iloc[0]}: only the indicator tells rows apart"
        return Column(name, kind, note, n_missing, float(numbers[0]))
    fill = float(np.median(numbers) if kind != "yes or no" else round(numbers.mean()))
    return Column(name, kind, _note(kind, numbers, n_missing, fill), n_missing, fill)


def _kind(present: pd.Series) -> Kind:
    dtype = present.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return "category"
    if pd.api.types.is_bool_dtype(dtype):
        return "yes or no"
    if pd.api.types.is_datetime64_any_dtype(dtype):
        return "date"
    if pd.api.types.is_numeric_dtype(dtype):
        return "number"
    values = present.unique()
    if all(isinstance(value, (bool, np.bool_)) for value in values):
        return "yes or no"
    if all(isinstance(value, (int, float, np.number)) for value in values):
        return "number"
    texts = [str(value) for value in values]
    if {text.lower() for text in texts} in ({"true", "false"}, {"yes", "no"}):
        return "yes or no"
    if sum(bool(DATE.match(text)) for text in texts) > MOSTLY * len(texts):
        return "date"
    return "category"


def numbers_of(name: str, kind: Kind, present: pd.Series) -> Float[np.ndarray, "row"]:
    """The cells that have a value, as numbers.

    Raises:
        DataError: naming row and column of one that is none.
    """
    try:
        numbers = _parsed(kind, present)
    except (ValueError, TypeError, KeyError, OverflowError):
        alone = [present.iloc[i : i + 1] for i in range(len(present))]
        numbers = np.concatenate([_parsed_alone(name, kind, pd.Series(cell)) for cell in alone])
    bad = ~np.isfinite(numbers)
    if bad.any():
        raise DataError(
            f"{_place(name, pd.Series(present[bad]))} is {numbers[bad][0]}; numbers must be finite"
        )
    return numbers


def _parsed(kind: Kind, present: pd.Series) -> Float[np.ndarray, "row"]:
    if kind == "date":
        return ((pd.to_datetime(present, utc=True, format="ISO8601") - EPOCH) / DAY).to_numpy(np.float64)
    if kind == "yes or no":
        keys = [cell.lower() if isinstance(cell, str) else float(cell) for cell in present]
        return np.array([TRUTHS[key] for key in keys])
    if present.dtype.kind not in "biufO":
        raise TypeError(f"{present.dtype} is no number")
    return present.to_numpy(np.float64)


def _parsed_alone(name: str, kind: Kind, cell: pd.Series) -> Float[np.ndarray, "1"]:
    try:
        return _parsed(kind, cell)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        what = {
            "date": "an ISO date such as 2024-03-01, as others in it are",
            "yes or no": "true or false, yes or no",
        }
        message = f"{_place(name, cell)} is not {what.get(kind, 'a number')}: {cell.iloc[0]!r}"
        raise DataError(message) from error


def _place(name: str, cell: pd.Series) -> str:
    """Where the first cell stands: by the name of the frame's index, if it has one."""
    return f"{cell.index.name or 'row'} {cell.index[0]}, column {name!r}"


def _note(kind: Kind, numbers: Float[np.ndarray, "row"], n_missing: int, fill: float) -> str:
    notes = {"number": [], "yes or no": ["1 for true or yes, 0 for false or no"]}.get(kind)
    if notes is None:
        notes = ["days since 1970-01-01; seasons that recur are not seen in it"]
    whole = kind == "number" and bool((numbers == np.round(numbers)).all())
    n_levels = len(np.unique(numbers)) if whole else 0
    if whole and n_levels == len(numbers) and np.ptp(numbers) == len(numbers) - 1:
        notes.append("numbers all rows without a gap: if it is only their number, leave it out")
    elif whole and 2 < n_levels <= min(CODES, len(numbers) // 2):
        notes.append(f"{n_levels} whole numbers, taken as amounts; if they are codes, name it in categories")
    if n_missing:
        by = "the commoner value" if kind == "yes or no" else "the median"
        notes.append(f"filled with {by} {fill:g}, and marked by an indicator")
    return "; ".join(notes) or "as it is"


def _decide_category(name: str, cells: pd.Series, most_levels: int, *, is_named: bool) -> Column:
    n_missing = int(cells.isna().sum())
    counts = levels_of(cells).value_counts()
    n_values, n_present = len(counts) - bool(n_missing), len(cells) - n_missing
    if n_values == 1 and not n_missing:
        return Column(name, "left out", "every row has the same value", n_missing)
    if not is_named and n_values > 1 and n_values > ALL_DIFFERENT * n_present:
        note = (
            f"text that differs in {n_values} of {n_present} rows: it names them, and tells nothing of others"
        )
        return Column(name, "left out", note, n_missing)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))
    levels = tuple(str(level) for level, count in ordered if count > 1 or len(ordered) <= 2)[:most_levels]
    rare = [(str(level), int(count)) for level, count in ordered if level not in levels]
    pooled, rows = tuple(level for level, _ in rare), sum(count for _, count in rare)
    note = f"one column a level: {', '.join(levels[:5])}{', ...' if len(levels) > 5 else ''}"
    if pooled:
        note = f"{note}; {len(pooled)} rarer levels of {rows} rows are pooled as {OTHER!r}"
    if n_missing:
        note = f"{note}; missing cells are a level of their own, {GONE!r}"
    return Column(name, "category", note, n_missing, None, levels, pooled)


def levels_of(cells: pd.Series) -> pd.Series:
    """Levels as text: whole numbers without a fraction, missing cells by their name."""

    def text(cell: Any) -> str:
        if isinstance(cell, float) and cell.is_integer():
            return str(int(cell))
        return str(cell)

    found = {cell: text(cell) for cell in cells.dropna().unique()}
    return cells.astype(object).map(found).where(cells.notna(), GONE)
