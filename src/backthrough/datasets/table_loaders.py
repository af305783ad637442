"""Regression tables, time series and ratings from the contents of their files."""

import calendar
import csv
import datetime
import io
from collections.abc import Iterable, Mapping

import numpy as np
from jaxtyping import Int, Shaped

from backthrough.core import check_integer
from backthrough.datasets.contents import Ratings, Regression, Series

NamedArrays = Mapping[str, Shaped[np.ndarray, "..."]]
SPLIT_SEED = 1
TRAIN_SHARE = 0.9


def read_regression(
    arrays: NamedArrays,
    *,
    n_hidden: int,
    feature_names: tuple[str, ...],
    target_name: str,
    n_splits: int,
    licence: str,
    source: str,
) -> Regression:
    """A table of the regression benchmark, with its standard splits made anew from their seed."""
    x = np.ascontiguousarray(arrays["X"])
    train_index, test_index = standard_splits(len(x), check_integer("n_splits", n_splits, minimum=1))
    return Regression(
        x,
        np.ascontiguousarray(arrays["y"]),
        train_index,
        test_index,
        n_hidden=n_hidden,
        feature_names=feature_names,
        target_name=target_name,
        licence=licence,
        source=source,
    )


def standard_splits(
    n_rows: int, n_splits: int
) -> tuple[Int[np.ndarray, "split train"], Int[np.ndarray, "split test"]]:
    """The splits of Hernandez-Lobato and Adams 2015: 90 % training rows, drawn one split after the other.

    Returns:
        The row numbers of the training and of the test part of each split.
    """
    generator = np.random.RandomState(SPLIT_SEED)
    orders = np.stack([generator.choice(n_rows, n_rows, replace=False) for _ in range(n_splits)])
    n_train = round(TRAIN_SHARE * n_rows)
    return orders[:, :n_train].copy(), orders[:, n_train:].copy()


def read_dated_series(content: bytes, *, licence: str, source: str) -> Series:
    """A series whose first column is a date YYYYMMDD; a blank value becomes NaN."""
    header, *rows = _rows(content)
    time = [_decimal_year(row[0]) for row in rows]
    values = [[float(cell) if cell else np.nan for cell in row[1:]] for row in rows]
    return Series(np.array(time), np.array(values), tuple(header[1:]), licence=licence, source=source)


def read_yearly_series(content: bytes, *, licence: str, source: str) -> Series:
    """A series whose first column is a year."""
    header, *rows = _rows(content)
    numbers = np.array(rows, dtype=np.float64)
    names = tuple(name.lower() for name in header[1:])
    return Series(numbers[:, 0].copy(), numbers[:, 1:].copy(), names, licence=licence, source=source)


def read_movielens(arrays: NamedArrays, movies: bytes, *, licence: str, source: str) -> Ratings:
    """MovieLens ratings, and the titles and genres of its films."""
    _, *films = _rows(movies)
    return Ratings(
        arrays["user"].astype(np.int64),
        arrays["item"].astype(np.int64),
        arrays["rating_x2"] / 2.0,
        n_users=len(arrays["user_id"]),
        n_items=len(arrays["item_id"]),
        timestamp=arrays["timestamp"].astype(np.int64),
        fold=arrays["fold10"].astype(np.int64),
        user_id=arrays["user_id"],
        item_id=arrays["item_id"],
        cold_user=arrays["cold_user"],
        titles=tuple(title for _, _, title, _ in films),
        genres=tuple(_genres(genres) for *_, genres in films),
        licence=licence,
        source=source,
    )


def read_rating_matrix(arrays: NamedArrays, *, shape: tuple[int, int], licence: str, source: str) -> Ratings:
    """A part of a rating matrix with the published training and test entries and graphs."""
    return Ratings(
        arrays["user"].astype(np.int64),
        arrays["item"].astype(np.int64),
        arrays["rating_x2"] / 2.0,
        n_users=shape[0],
        n_items=shape[1],
        is_test=arrays["is_test"],
        user_edges=_edges(arrays, "W_users"),
        item_edges=_edges(arrays, "W_movies"),
        licence=licence,
        source=source,
    )


def _rows(content: bytes) -> list[list[str]]:
    lines: Iterable[str] = io.StringIO(content.decode("utf-8"), newline="")
    kept = (line for line in lines if line.strip() and not line.startswith("#"))
    return list(csv.reader(kept, skipinitialspace=True))


def _decimal_year(text: str) -> float:
    date = datetime.datetime.strptime(text, "%Y%m%d").date()
    days = 366 if calendar.isleap(date.year) else 365
    return date.year + (date.timetuple().tm_yday - 1) / days


def _genres(text: str) -> tuple[str, ...]:
    return () if text == "(no genres listed)" else tuple(text.split("|"))


def _edges(arrays: NamedArrays, graph: str) -> np.ndarray | None:
    if f"{graph}_src" not in arrays:
        return None
    pairs = np.stack([arrays[f"{graph}_src"], arrays[f"{graph}_dst"]], axis=1)
    return pairs.astype(np.int64)
