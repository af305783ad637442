"""Data sets by name."""

import dataclasses
from typing import Any

import numpy as np

from backthrough.core import ArgumentError, check_choice
from backthrough.datasets.entry import Entry
from backthrough.datasets.files import read_verified
from backthrough.datasets.locate import locate
from backthrough.datasets.registry import find_entry


def load(name: str, **options: Any) -> Any:
    """Loads a data set: bundled, or found in `$BACKTHROUGH_DATA` or in the cache that `fetch` fills.

    The content of every file is checked against its digest each time it is read.

    Args:
        name: One of `dataset_names()`.
        **options: What this data set offers: the regression tables take `n_splits`.

    Returns:
        A frozen dataclass of read-only NumPy arrays with `licence` and `source`; which one depends on the
        data set (`Images`, `BinaryImages`, `Regression`, `Series`, `Ratings`, `Sequences`, `Messages`,
        `Text`, `Arrays`).

    Raises:
        ArgumentError: if there is no such data set or option.
        DataError: if a file is nowhere (saying how to get it), is damaged, or holds something else.

    Example:
        >>> yacht = load("yacht")
        >>> yacht.x.shape, yacht.train_index.shape
        ((308, 6), (20, 277))
    """
    return load_entry(find_entry(name), **options)


def load_entry(entry: Entry, **options: Any) -> Any:
    """Loads the data set that `entry` describes; see `load`."""
    for option in options:
        if not entry.options:
            raise ArgumentError(f"{entry.name} takes no options, got {option!r}")
        check_choice(f"option of {entry.name}", option, entry.options)
    paths = locate(entry)
    contents = [read_verified(path, file.sha256) for path, file in zip(paths, entry.files, strict=True)]
    data = entry.read(*contents, licence=entry.licence, source=entry.source, **options)
    for field in dataclasses.fields(data):
        value = getattr(data, field.name)
        if isinstance(value, np.ndarray):
            value.setflags(write=False)
    return data
