"""What data sets there are, and which are at hand."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from backthrough.datasets.entry import Entry
from backthrough.datasets.locate import find_file
from backthrough.datasets.registry import ENTRIES

Availability = Literal["bundled", "found", "fetchable", "by hand"]


@dataclass(frozen=True)
class Description:
    """One row of the list of data sets.

    Attributes:
        availability: "bundled" with the package; "found" in `$BACKTHROUGH_DATA` or the cache (not yet
            verified); "fetchable"; or to be prepared "by hand".
        n_bytes: Size of its files as they lie on disk; None when they are not all at hand.
        paths: Where they are; empty when they are not all at hand.
    """

    name: str
    summary: str
    shapes: str
    licence: str
    availability: Availability
    n_bytes: int | None
    paths: tuple[Path, ...]


def describe() -> list[Description]:
    """One row for each data set, in the registry's order; looks at no file's content."""
    return [describe_entry(entry) for entry in ENTRIES.values()]


def describe_entry(entry: Entry) -> Description:
    """The row of one data set."""
    found = [path for file in entry.files if (path := find_file(entry, file)) is not None]
    complete = len(found) == len(entry.files)
    paths = tuple(found) if complete else ()
    return Description(
        name=entry.name,
        summary=entry.summary,
        shapes=entry.shapes,
        licence=entry.licence,
        availability=_availability(entry, complete),
        n_bytes=sum(path.stat().st_size for path in paths) if complete else None,
        paths=paths,
    )


def _availability(entry: Entry, complete: bool) -> Availability:
    if entry.bundled:
        return "bundled"
    if complete:
        return "found"
    return "fetchable" if entry.fetchable else "by hand"
