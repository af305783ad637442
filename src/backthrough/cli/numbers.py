"""The numbers of a finished run, printed."""

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table


def print_numbers(run: Path) -> None:
    """Prints the numbers of `result.json` as a table."""
    from backthrough.report import with_error  # here: it draws in matplotlib

    table = Table(box=None, pad_edge=False, show_header=False)
    for number in json.loads((run / "result.json").read_text())["numbers"]:
        value = with_error(number["value"], number["standard_error"])
        table.add_row(number["name"], f"{value} {number['unit']}", f"[dim]{number['what']}[/dim]")
    Console().print(table)
