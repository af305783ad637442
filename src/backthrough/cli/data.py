"""`backthrough data list` and `backthrough data fetch NAME`."""

from dataclasses import dataclass
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from backthrough.core import ArgumentError
from backthrough.datasets import describe, fetch, find_entry


@dataclass(frozen=True)
class List:
    """What data sets there are, whether they are at hand, and their terms."""


@dataclass(frozen=True)
class Fetch:
    """Downloads data sets from their public homes, verifies them, and keeps them in the user's cache."""

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """Data sets."""


@dataclass(frozen=True)
class Show:
    """All that is known of one data set: shapes, terms, citation, how its files were made."""

    name: tyro.conf.Positional[str]
    """A data set."""


Choice = (
    Annotated[List, tyro.conf.subcommand("list")]
    | Annotated[Fetch, tyro.conf.subcommand("fetch")]
    | Annotated[Show, tyro.conf.subcommand("show")]
)


def main(arguments: list[str]) -> int:
    """Lists, fetches or shows."""
    choice = tyro.cli(Choice, args=arguments, prog="backthrough data")  # type: ignore[call-overload]
    if isinstance(choice, List):
        _print_list()
    elif isinstance(choice, Fetch):
        if not choice.names:
            names = [row.name for row in describe() if row.availability == "fetchable"]
            there = f"these can be had: {', '.join(names)}" if names else "all that can be had is at hand"
            raise ArgumentError(f"data fetch needs the name of a data set; {there}")
        for name in choice.names:
            for path in fetch(name):
                print(path)
    else:
        _print_entry(choice.name)
    return 0


def _print_list() -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("name", "at hand", "what", "licence"):
        table.add_column(heading, overflow="fold")
    for row in describe():
        table.add_row(row.name, row.availability, row.summary, row.licence)
    Console().print(table)
    print("\nfetchable: backthrough data fetch NAME; the rest: backthrough data show NAME")


def _print_entry(name: str) -> None:
    entry = find_entry(name)
    for label, text in (
        ("summary", entry.summary),
        ("shapes", entry.shapes),
        ("licence", entry.licence),
        ("citation", entry.citation),
        ("home", entry.home),
        ("notes", entry.notes),
    ):
        if text:
            print(f"{label:<9} {text}")
    for file in entry.files:
        print(f"file      {file.path}\n          sha256 of its content {file.sha256}")
