"""Columns of any kind as numbers, by decisions that are named."""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from backthrough.core import ArgumentError, DataError, check_choice, check_integer
from backthrough.regress.deciding import OTHER, Column, Decisions, decide, levels_of, numbers_of


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
            decide(name, pd.Series(frame[name]), name in self.categories, self.most_levels)
            for name in frame.columns
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
        parts = [_encode(column, pd.Series(frame[column.name]), news) for column in kept]
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


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    frame = frame.rename(columns=str)
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise DataError(f"column {twice[0]!r} occurs twice; give each column a name of its own")
    return frame


def _encode(column: Column, cells: pd.Series, news: list[str]) -> Float[np.ndarray, "row output"]:
    """The numbers of a column; what is new in it is added to `news`."""
    missing = cells.isna().to_numpy()
    if column.kind == "category":
        places = {level: place for place, level in enumerate(column.levels)}
        places |= dict.fromkeys(column.pooled, len(column.levels))
        texts = levels_of(cells)
        strange = ~texts.isin(list(places)).to_numpy()
        if strange.any():
            names = sorted(set(texts[strange]))
            shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            becomes = f"as {OTHER!r}" if column.pooled else "as none of them"
            news.append(
                f"column {column.name!r}: {int(strange.sum())} of {len(cells)} rows have a level that was "
                f"not there in training ({shown}): they count {becomes}"
            )
        out = np.zeros((len(cells), len(column.outputs)))
        found = texts.map(places).fillna(len(column.levels) if column.pooled else -1).to_numpy(int)
        known = found >= 0
        out[np.flatnonzero(known), found[known]] = 1.0
        return out
    numbers = np.full(len(cells), column.fill, np.float64)
    if not missing.all():
        numbers[~missing] = numbers_of(column.name, column.kind, pd.Series(cells[~missing]))
    if column.n_missing:
        return np.stack([numbers, missing.astype(float)], axis=1)
    if missing.any():
        news.append(
            f"column {column.name!r}: {int(missing.sum())} of {len(cells)} cells are missing, and none "
            f"was in training: filled with {column.fill:g}"
        )
    return numbers[:, None]
