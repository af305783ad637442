"""Columns of any kind as numbers, by decisions that are named."""

import dataclasses
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

from backthrough.core import ArgumentError, DataError, check_choice, check_integer

Kind = Literal["number", "category", "yes or no", "date", "left out"]
TRUTHS = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}
EPOCH, DAY = pd.Timestamp("1970-01-01", tz="UTC"), pd.Timedelta(days=1)
DATE = re.compile(r"\d{4}-\d{2}-\d{2}([T ].*)?$")
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


class ColumnEncoder:
    """Turns frames of numbers, text, truth values and dates into numbers, always the same way.

    Args:
        categories: Columns that are categories although they may look like numbers.
        most_levels: Levels of a category that get a column of their own; the others are pooled.

    Attributes:
        decisions: What is made of each column; after `fit`.

    Examples:
        >>> frame = pd.DataFrame({"area": [50.0, 80.0, 65.0, 70.0], "city": ["a", "b", "a", "b"]})
        >>> encoder = ColumnEncoder().fit(frame)
        >>> encoder.decisions.outputs
        ('area', 'city = a', 'city = b')
        >>> encoder.transform(frame[:1]).tolist()
        [[50.0, 1.0, 0.0]]
    """

    def __init__(self, *, categories: Sequence[str] = (), most_levels: int = 20):
        if isinstance(categories, str):
            raise ArgumentError(f"categories must be names, such as [{categories!r}], got {categories!r}")
        self.categories = tuple(str(name) for name in categories)
        self.most_levels = check_integer("most_levels", most_levels, minimum=1)
        self.decisions = Decisions(())

    def fit(self, frame: pd.DataFrame) -> "ColumnEncoder":
        """Decides about each column; a warning names those that are left out or have missing cells.

        Raises:
            ArgumentError: if a name of `categories` is no column.
            DataError: naming a column that occurs twice or holds what cannot be used, or if none is left.
        """
        frame = _named(frame)
        for name in self.categories:
            check_choice("category", name, list(frame.columns))
        decided = [
            _decide(name, frame[name], name in self.categories, self.most_levels) for name in frame.columns
        ]
        self.decisions = Decisions(tuple(decided))
        if not self.decisions.outputs:
            notes = "; ".join(f"{column.name!r}: {column.note}" for column in decided)
            raise DataError(f"no column is left to predict by ({notes})")
        self._tell()
        return self

    def transform(self, frame: pd.DataFrame) -> Float[np.ndarray, "row output"]:
        """The numbers of the columns that `fit` has seen; others are ignored.

        A warning counts the levels that were never seen, and cells missing where none was in training.

        Raises:
            DataError: naming a column that is not there, or row and column of what cannot be used.
        """
        frame = _named(frame)
        kept = [column for column in self.decisions.columns if column.outputs]
        absent = [column.name for column in kept if column.name not in frame.columns]
        if absent:
            raise DataError(f"there is no column {', '.join(map(repr, absent))}, which was there in training")
        news: list[str] = []
        parts = [_encode(column, frame[column.name], news) for column in kept]
        if news:
            warnings.warn("; ".join(news), stacklevel=2)
        return np.concatenate(parts, axis=1)

    def settings(self) -> dict[str, Any]:
        """What `from_settings` makes the encoder of again, as JSON values."""
        columns = [dataclasses.asdict(column) for column in self.decisions.columns]
        return {"categories": list(self.categories), "most_levels": self.most_levels, "columns": columns}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "ColumnEncoder":
        """The encoder of which these are the `settings`."""
        encoder = cls(categories=settings["categories"], most_levels=settings["most_levels"])
        columns = [
            Column(**{**own, "levels": tuple(own["levels"]), "pooled": tuple(own["pooled"])})
            for own in settings["columns"]
        ]
        encoder.decisions = Decisions(tuple(columns))
        return encoder

    def _tell(self) -> None:
        notes = [f"column {c.name!r} is left out: {c.note}" for c in self.decisions.columns if not c.outputs]
        notes += [
            f"column {c.name!r} has {c.n_missing} missing cells: {c.note}"
            for c in self.decisions.columns
            if c.outputs and c.n_missing
        ]
        if notes:
            warnings.warn("; ".join(notes), stacklevel=3)


def is_constant(values: Float[np.ndarray, "row ..."]) -> Any:
    """For each column whether its numbers are the same up to rounding."""
    return np.ptp(values, axis=0) <= ROUNDING * np.abs(values).max(axis=0)


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    frame = frame.rename(columns=str)
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise DataError(f"column {twice[0]!r} occurs twice; give each column a name of its own")
    return frame


def _decide(name: str, cells: pd.Series, is_category: bool, most_levels: int) -> Column:
    present = cells.dropna()
    n_missing = len(cells) - len(present)
    if not len(present):
        return Column(name, "left out", "no cell has a value", n_missing)
    kind = "category" if is_category else _kind(present)
    if kind == "category":
        return _decide_category(name, cells, most_levels, is_named=is_category)
    numbers = _numbers(name, kind, present)
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
    if all(DATE.match(text) for text in texts):
        return "date"
    return "category"


def _numbers(name: str, kind: Kind, present: pd.Series) -> Float[np.ndarray, "row"]:
    """The cells that have a value, as numbers.

    Raises:
        DataError: naming row and column of one that is none.
    """
    try:
        if kind == "date":
            dates = pd.to_datetime(present, utc=True, format="ISO8601")
            numbers = ((dates - EPOCH) / DAY).to_numpy(np.float64)
        elif kind == "yes or no":
            known = {True: 1.0, False: 0.0, 1: 1.0, 0: 0.0, **TRUTHS}
            numbers = np.array(
                [known[cell.lower() if isinstance(cell, str) else cell] for cell in present], float
            )
        else:
            numbers = present.to_numpy(np.float64)
    except (ValueError, TypeError, KeyError) as error:
        what = {"date": "an ISO date such as 2024-03-01", "yes or no": "true or false, or yes or no"}.get(
            kind, "a number"
        )
        raise DataError(f"column {name!r} must hold {what} in every cell, as in training: {error}") from error
    bad = ~np.isfinite(numbers)
    if bad.any():
        row = present.index[int(np.argmax(bad))]
        raise DataError(f"column {name!r} of row {row} is {numbers[bad][0]}; numbers must be finite")
    return numbers


def _note(kind: Kind, numbers: Float[np.ndarray, "row"], n_missing: int, fill: float) -> str:
    notes = {"number": [], "yes or no": ["1 for true or yes, 0 for false or no"]}.get(kind)
    if notes is None:
        notes = ["days since 1970-01-01; seasons that recur are not seen in it"]
    whole = kind == "number" and bool((numbers == np.round(numbers)).all())
    n_levels = len(np.unique(numbers)) if whole else 0
    if whole and n_levels == len(numbers) and np.ptp(numbers) == len(numbers) - 1:
        notes.append("numbers all rows without a gap: if it is only their number, leave it out")
    elif whole and 2 < n_levels <= CODES:
        notes.append(f"{n_levels} whole numbers, taken as amounts; if they are codes, name it in categories")
    if n_missing:
        by = "the commoner value" if kind == "yes or no" else "the median"
        notes.append(f"filled with {by} {fill:g}, and marked by an indicator")
    return "; ".join(notes) or "as it is"


def _decide_category(name: str, cells: pd.Series, most_levels: int, *, is_named: bool) -> Column:
    n_missing = int(cells.isna().sum())
    counts = _texts(cells).value_counts()
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
    pooled = tuple(str(level) for level, _ in ordered if level not in levels)
    rows = int(sum(count for level, count in ordered if level in pooled))
    note = f"one column a level ({len(levels)})"
    if pooled:
        note = f"{note}; {len(pooled)} rarer levels of {rows} rows are pooled as {OTHER!r}"
    if n_missing:
        note = f"{note}; missing cells are a level of their own, {GONE!r}"
    return Column(name, "category", note, n_missing, None, levels, pooled)


def _texts(cells: pd.Series) -> pd.Series:
    """Levels as text: whole numbers without a fraction, missing cells by their name."""

    def text(cell: Any) -> str:
        if isinstance(cell, float) and cell.is_integer():
            return str(int(cell))
        return str(cell)

    found = {cell: text(cell) for cell in cells.dropna().unique()}
    return cells.astype(object).map(found).where(cells.notna(), GONE)


def _encode(column: Column, cells: pd.Series, news: list[str]) -> Float[np.ndarray, "row output"]:
    """The numbers of a column; what is new in it is added to `news`."""
    missing = cells.isna().to_numpy()
    if column.kind == "category":
        places = {level: place for place, level in enumerate(column.levels)}
        places |= dict.fromkeys(column.pooled, len(column.levels))
        texts = _texts(cells)
        strange = ~texts.isin(list(places)).to_numpy()
        if strange.any():
            names, becomes = (
                sorted(set(texts[strange])),
                f"as {OTHER!r}" if column.pooled else "as none of them",
            )
            news.append(
                f"column {column.name!r}: {int(strange.sum())} of {len(cells)} rows have a level that was not "
                f"there in training ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''}): they count {becomes}"
            )
        out = np.zeros((len(cells), len(column.outputs)))
        found = texts.map(places).fillna(len(column.levels) if column.pooled else -1).to_numpy(int)
        known = found >= 0
        out[np.flatnonzero(known), found[known]] = 1.0
        return out
    numbers = np.full(len(cells), column.fill, np.float64)
    if not missing.all():
        numbers[~missing] = _numbers(column.name, column.kind, cells[~missing])
    if column.n_missing:
        return np.stack([numbers, missing.astype(float)], axis=1)
    if missing.any():
        news.append(
            f"column {column.name!r}: {int(missing.sum())} of {len(cells)} cells are missing, and none was in "
            f"training: filled with {column.fill:g}"
        )
    return numbers[:, None]
