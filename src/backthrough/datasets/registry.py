"""The data sets by name."""

from backthrough.core import check_choice
from backthrough.datasets import (
    catalogue_images,
    catalogue_regression,
    catalogue_sequences,
    catalogue_tables,
)
from backthrough.datasets.entry import Entry

ENTRIES: dict[str, Entry] = {
    entry.name: entry
    for catalogue in (catalogue_images, catalogue_regression, catalogue_tables, catalogue_sequences)
    for entry in catalogue.ENTRIES
}


def dataset_names() -> tuple[str, ...]:
    """The names that `load` knows."""
    return tuple(ENTRIES)


def find_entry(name: str) -> Entry:
    """What is known of a data set: licence, citation, files, how they were made and what to beware of.

    Raises:
        ArgumentError: if there is no such name, with the nearest one.

    Example:
        >>> find_entry("co2").licence
        'public domain'
    """
    return ENTRIES[check_choice("data set", name, ENTRIES)]
