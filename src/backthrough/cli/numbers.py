"""The numbers of a finished run, printed."""

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table


def print_numbers(run: Path, *, only_headline: bool = False) -> None:
    """Prints the headline of `result.json`, and its numbers."""
    from backthrough.train import with_error  # here: it imports NumPy

    table = Table(box=None, pad_edge=False, show_header=False)
    result = json.loads((run / "result.json").read_text())
    for number in result["numbers"]:
        value = with_error(number["value"], number["standard_error"])
        table.add_row(number["name"], f"{value} {number['unit']}", f"[dim]{number['what']}[/dim]")
    console = Console(highlight=False)
    if "headline" in result:
        console.print(result["headline"]["sentence"], style="bold", markup=False)
    if not only_headline:
        console.print(table)
