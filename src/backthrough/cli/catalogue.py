"""`backthrough list`."""

import tyro
from rich.console import Console
from rich.table import Table

from backthrough.cli.main import COMMANDS
from backthrough.recipes import RECIPES

TASKS = ("density", "forecast", "regress", "gaps", "disentangle", "tune", "explain")


def main(arguments: list[str]) -> int:
    """Prints what can be run: recipes by room, and tasks on your own files; a line each."""
    tyro.cli(_nothing, args=arguments, prog="backthrough list", description=main.__doc__)
    table = Table(box=None, show_header=False, pad_edge=False)
    for room in dict.fromkeys(recipe.room for recipe in RECIPES.values()):
        table.add_row(f"[bold]{room}[/bold]")
        for recipe in RECIPES.values():
            if recipe.room == room:
                table.add_row(f"  {recipe.name}", recipe.summary)
    table.add_row("[bold]on your own files and models[/bold]")
    for task in TASKS:
        table.add_row(f"  {task}", COMMANDS[task].summary)
    console = Console()
    console.print(table)
    console.print("\na recipe: backthrough run NAME; a task: backthrough NAME FILE", style="dim")
    return 0


def _nothing() -> None:
    """No options."""
