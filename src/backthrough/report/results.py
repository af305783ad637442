"""The results table: what was asked, what was measured, and whether that is enough."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from backthrough.core import DataError
from backthrough.core.files import write_atomically
from backthrough.train import three_digits, with_error

Status = Literal["met", "short", "not run"]
RELATIONS = ("at_least", "at_most", "between")


@dataclass(frozen=True)
class Row:
    """One acceptance figure. What is asked is written down and committed before it is measured.

    Attributes:
        id: Room and figure, such as `train.overhead`.
        what: What is measured, in a sentence with its unit.
        bound: What is asked: `{"at_least": 0.95}`, `{"at_most": 60}` or `{"between": [0.8, 2.2]}`.
        command: Measures it. A script prints, as its last line, a JSON object from ids to measurements; a
            `backthrough run` command is run once for each seed.
        seeds: The seeds it is measured with.
        number: For `backthrough run`, which number of `result.json` is meant.
        paper: The paper's figure, as text.
        ours: The figure, a mean over seeds.
        spread: Standard deviation over seeds or repetitions.
        peer: `{"name": ..., "value": ...}`, measured in the same run.
        machine: What it was measured on.
        date: When.
        note: What a reader should know; why it falls short, if it does.
    """

    id: str
    what: str
    bound: Mapping[str, Any]
    command: str
    seeds: Sequence[int] = ()
    number: str | None = None
    paper: str | None = None
    ours: float | None = None
    spread: float | None = None
    peer: Mapping[str, Any] | None = None
    machine: str | None = None
    date: str | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if len(self.bound) != 1 or next(iter(self.bound)) not in RELATIONS:
            raise DataError(f"results row {self.id}: bound must be one of {RELATIONS}, got {self.bound}")

    @property
    def status(self) -> Status:
        """Whether `ours` satisfies `bound`; computed, never written by hand."""
        if self.ours is None:
            return "not run"
        (relation, value), *_ = self.bound.items()
        met = {
            "at_least": lambda: self.ours >= value,
            "at_most": lambda: self.ours <= value,
            "between": lambda: value[0] <= self.ours <= value[1],
        }[relation]()
        return "met" if met else "short"


def read_rows(folder: Path) -> list[Row]:
    """All rows of a results folder, by id.

    Raises:
        DataError: naming the file that is not a row.
    """
    rows = []
    names = {field.name for field in dataclasses.fields(Row)}
    for file in sorted(folder.glob("*.json")):
        try:
            values = json.loads(file.read_text())
            values = {name: value for name, value in values.items() if name != "status"}
            rows.append(Row(**{**values, "seeds": tuple(values.get("seeds", ()))}))
        except (ValueError, TypeError) as error:
            raise DataError(f"{file} is not a results row ({error}); it has the fields {names}") from error
        if rows[-1].id != file.stem:
            raise DataError(f"{file} holds the row {rows[-1].id!r}; a file is named for its row")
    return rows


def write_row(folder: Path, row: Row) -> None:
    """Writes `row` with its computed status to `folder/ID.json`."""
    values = {**dataclasses.asdict(row), "status": row.status}
    write_atomically(folder / f"{row.id}.json", (json.dumps(values, indent=2) + "\n").encode())


def results_page(rows: Sequence[Row]) -> str:
    """The rows as the Markdown page `docs/results.md`: what falls short first, then a table a room."""
    counts = {status: sum(row.status == status for row in rows) for status in ("met", "short", "not run")}
    lines = [
        "# Results",
        "",
        "Generated from `results/*.json` by `make results`. What is asked of a figure is committed before",
        "it is measured; the status is computed. A figure that falls short stands here as it is.",
        "",
        ", ".join(f"{count} {status}" for status, count in counts.items() if count) + ".",
    ]
    for status, heading in (("short", "What falls short"), ("not run", "What has not been measured")):
        own = [row for row in rows if row.status == status]
        if own:
            lines += ["", f"## {heading}", "", *_table(own)]
    for room in dict.fromkeys(_room(row) for row in rows):
        lines += ["", f"## {room}", "", *_table([row for row in rows if _room(row) == room])]
    lines += ["", "## How each was measured"]
    for row in rows:
        lines += ["", f'<a id="{_anchor(row.id)}"></a>', f"### {row.id}", "", f"    {row.command}", ""]
        if row.ours is not None:
            seeds = f"seeds {', '.join(map(str, row.seeds))}; " if row.seeds else ""
            lines.append(f"{seeds}{row.machine}; {row.date}.")
        if row.note:
            lines += ["", row.note]
    return "\n".join(lines) + "\n"


def _room(row: Row) -> str:
    return row.id.partition(".")[0]


def _table(rows: Sequence[Row]) -> list[str]:
    """The status first: it must be seen where a narrow page cuts the rest off."""
    lines = ["| status | id | ours ± spread | asked | paper | peer | what |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        status = f"**{row.status}**" if row.status != "met" else row.status
        ours = "" if row.ours is None else with_error(row.ours, row.spread)
        peer = "" if row.peer is None else f"{row.peer['name']}: {three_digits(row.peer['value'])}"
        name = f"[{row.id}](#{_anchor(row.id)})"
        cells = (status, name, ours, _asked(row.bound), row.paper or "", peer, row.what)
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return lines


def _asked(bound: Mapping[str, Any]) -> str:
    (relation, value), *_ = bound.items()
    if relation == "between":
        return f"{value[0]:g} to {value[1]:g}"
    return f"{'≥' if relation == 'at_least' else '≤'} {value:g}"


def _anchor(identifier: str) -> str:
    return identifier.replace(".", "-").lower()
