"""`backthrough list`."""

import tyro
from rich.console import Console
from rich.table import Table

from backthrough.recipes import RECIPES


def main(arguments: list[str]) -> int:
    """Prints the recipes by room, one line each."""
    tyro.cli(_nothing, args=arguments, prog="backthrough list", description=main.__doc__)
    table = Table(box=None, show_header=False, pad_edge=False)
    for room in dict.fromkeys(recipe.room for recipe in RECIPES.values()):
        table.add_row(f"[bold]{room}[/bold]")
        for recipe in RECIPES.values():
            if recipe.room == room:
                table.add_row(f"  {recipe.name}", recipe.summary)
    console = Console()
    console.print(table)
    console.print("\nrun one with: backthrough run NAME", style="dim")
    return 0


def _nothing() -> None:
    """No options."""
