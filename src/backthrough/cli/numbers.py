"""The numbers of a finished run, printed."""

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text


def print_numbers(run: Path, *, only_headline: bool = False) -> None:
    """Prints the headline of `result.json`, and its numbers."""
    from backthrough.train import with_error  # here: it imports NumPy

    table = Table(box=None, pad_edge=False, show_header=False)
    result = json.loads((run / "result.json").read_text())
    for number in result["numbers"]:
        value = with_error(number["value"], number["standard_error"])
        what = Text(number["what"], style="dim")
        table.add_row(Text(number["name"]), Text(f"{value} {number['unit']}"), what)  # no markup: L[q]
    console = Console(highlight=False)
    if "headline" in result:
        console.print(result["headline"]["sentence"], style="bold", markup=False)
    if not only_headline:
        console.print(table)
