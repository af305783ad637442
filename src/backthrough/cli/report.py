"""`backthrough report RUN...`."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from backthrough.core import ArgumentError
from backthrough.report import write_page


@dataclass(frozen=True)
class Options:
    """Builds the HTML page of one run, or one page of several."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run directories."""
    out: Path | None = None
    """The HTML file; report.html in the first run directory by default."""


def main(arguments: list[str]) -> int:
    """Writes the page and prints where it is."""
    options = tyro.cli(Options, args=arguments, prog="backthrough report")
    if not options.runs:
        raise ArgumentError("report needs at least one run directory: backthrough report RUN...")
    print(write_page(options.runs, options.out or options.runs[0] / "report.html"))
    return 0
