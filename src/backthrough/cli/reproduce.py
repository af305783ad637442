"""`backthrough reproduce`: measures rows of the results table and writes the table."""

import dataclasses
import json
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from backthrough.cli.runs import fresh_directory
from backthrough.core import ArgumentError, BackthroughError, check_choice, write_atomically

if TYPE_CHECKING:
    from backthrough.report import Row


@dataclass(frozen=True)
class Options:
    """Runs the commands behind docs/results.md, in a checkout, and computes each row's status."""

    only: tyro.conf.Positional[tuple[str, ...]] = ()
    """Ids of rows, or names of recipes; everything when none is named."""
    table_only: bool = False
    """Write the table from what is measured already; run nothing."""
    results: Path = Path("results")
    """Folder of the rows, one JSON file each."""
    page: Path = Path("docs/results.md")
    """The table to write."""


def main(arguments: list[str]) -> int:
    """Measures the chosen rows; each is written as soon as it is measured."""
    options = tyro.cli(
        Options, args=arguments, prog="backthrough reproduce", config=(tyro.conf.FlagCreatePairsOff,)
    )
    if not options.results.is_dir() or not options.page.parent.is_dir():
        raise ArgumentError(
            f"there is no folder {options.results} or {options.page.parent} here; run this in a checkout"
        )
    from backthrough.report import read_rows, results_page, write_row  # only now: it imports much

    rows = read_rows(options.results)
    if not options.table_only:
        chosen = _choose(rows, options.only)
        for command in dict.fromkeys(row.command for row in chosen):
            together = [row for row in chosen if row.command == command]
            print(f"$ {command}", flush=True)
            for row in _measure(command, together):
                write_row(options.results, row)
                print(f"  {row.id}: {row.ours} ({row.status})", flush=True)
    write_atomically(options.page, results_page(read_rows(options.results)).encode())
    print(options.page)
    return 0


def _choose(rows: Sequence["Row"], only: Sequence[str]) -> list["Row"]:
    if not only:
        return list(rows)
    recipes = {row.id: _recipe(row.command) for row in rows}
    known = [*recipes, *dict.fromkeys(name for name in recipes.values() if name)]
    for name in only:
        check_choice("row or recipe", name, known)
    return [row for row in rows if row.id in only or recipes[row.id] in only]


def _recipe(command: str) -> str | None:
    words = command.split()
    return words[2] if words[:2] == ["backthrough", "run"] else None


def _measure(command: str, rows: Sequence["Row"]) -> list["Row"]:
    from backthrough.train import describe_machine

    recipe = _recipe(command)
    found = _run_script(command) if recipe is None else _run_recipe(command, recipe, rows)
    common = {"machine": describe_machine(), "date": time.strftime("%Y-%m-%d")}
    missing = [row.id for row in rows if row.id not in found]
    if missing:
        raise BackthroughError(f"{command!r} measured no {', '.join(missing)}")
    return [dataclasses.replace(row, **common, **found[row.id]) for row in rows]


def _run_script(command: str) -> dict[str, Any]:
    """Runs a script that prints its measurements as its last line."""
    output = _call(shlex.split(command))
    try:
        return json.loads(output.strip().splitlines()[-1])
    except (IndexError, ValueError) as error:
        raise BackthroughError(f"the last line that {command!r} prints is no JSON object") from error


def _run_recipe(command: str, recipe: str, rows: Sequence["Row"]) -> dict[str, Any]:
    """Runs a recipe once for each seed; the figure is the mean over seeds."""
    values: dict[str, list[float]] = {row.id: [] for row in rows}
    seeds = {tuple(row.seeds) for row in rows}
    if len(seeds) > 1 or () in seeds:
        raise BackthroughError(f"rows measured by {command!r} need the same seeds, at least one")
    for seed in rows[0].seeds:
        folder = fresh_directory(f"reproduce-{recipe}-seed{seed}")
        _call([*shlex.split(command), "--seed", str(seed), "--run-dir", str(folder)])
        numbers = json.loads((folder / "result.json").read_text())["numbers"]
        by_name = {number["name"]: number["value"] for number in numbers}
        for row in rows:
            values[row.id].append(by_name[check_choice("number", str(row.number), by_name)])
    return {
        identifier: {
            "ours": statistics.fmean(own),
            "spread": statistics.stdev(own) if len(own) > 1 else None,
        }
        for identifier, own in values.items()
    }


def _call(words: list[str]) -> str:
    """Runs a command with this Python, showing its errors; returns what it prints."""
    if words[0] == "python":
        words = [sys.executable, *words[1:]]
    elif words[0] == "backthrough":
        words = [sys.executable, "-m", "backthrough", *words[1:]]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise BackthroughError(f"{shlex.join(words)} ended with exit code {done.returncode}")
    return done.stdout
