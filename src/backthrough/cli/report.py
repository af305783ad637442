"""`backthrough report RUN...`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from backthrough.core import ArgumentError

MOST_NAMES = 3  # of runs, in the name of their page


@dataclass(frozen=True)
class Options:
    """Builds the HTML page of one run, or one page of several."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run directories."""
    out: Path | None = None
    """The HTML file. By default report.html in the directory of one run; for several, a new file here."""


def main(arguments: list[str]) -> int:
    """Writes the page and prints where it is."""
    options = tyro.cli(Options, args=arguments, prog="backthrough report")
    if not options.runs:
        raise ArgumentError("report needs at least one run directory: backthrough report RUN...")
    for run in options.runs:
        if not (run / "config.json").exists():
            raise ArgumentError(f"{run} holds no run (it has no config.json)")
    from backthrough.report import write_page  # only now: it imports much

    print(write_page(options.runs, options.out or _page(options.runs)))
    return 0


def _page(runs: Sequence[Path]) -> Path:
    """Where the page goes: the page of a run is never replaced by one of several."""
    names = list(dict.fromkeys(run.resolve().name for run in runs))
    if len(runs) == 1:
        return runs[0] / "report.html"
    joined = "-".join(names) if len(names) <= MOST_NAMES else f"{names[0]}-and-{len(names) - 1}-more"
    page, number = Path(f"report-{joined}.html"), 2
    while page.exists():
        page, number = Path(f"report-{joined}-{number}.html"), number + 1
    return page
