"""What the page shows of one run, read from its directory."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backthrough.core import RunError
from backthrough.report.charts import Chart, line_chart
from backthrough.train import read_config, read_metrics, read_progress, with_error

SHOWN_NUMBERS = 6


@dataclass(frozen=True)
class ShownNumber:
    """A number as text."""

    name: str
    shown: str
    unit: str
    what: str


@dataclass(frozen=True)
class Picture:
    """A figure with its caption.

    Attributes:
        name: Of its file.
        caption: What is to be seen.
        source: The whole file as a `data:` address. So an SVG stays a document of its own, and its styles and
            names apart from those of others.
        kind: "drawn" (an SVG) or "ink" (a PNG whose ink is dark, and light on a dark page).
    """

    name: str
    caption: str
    source: str
    kind: str


@dataclass(frozen=True)
class RunView:
    """What the page shows of one run.

    Attributes:
        anchor: Where it stands on the page.
        recipe: What kind of run it is.
        heading: Its kind and name.
        headline: What came out.
        headline_number: The number that the headline rests on.
        picture: What shows it.
        numbers: The first of its numbers.
        more_numbers: The rest.
        tables: What else it shows, each with heading, head and rows.
        pictures: The other figures.
        charts: Curves of its metrics.
        config_text: Its configuration as JSON.
        environment: Its last start.
        environment_text: The same as JSON.
        about: What the method does, where that is known.
    """

    anchor: str
    recipe: str
    heading: str
    headline: str
    headline_number: ShownNumber | None
    picture: Picture | None
    numbers: Sequence[ShownNumber]
    more_numbers: Sequence[ShownNumber]
    tables: Sequence[Mapping[str, Any]]
    pictures: Sequence[Picture]
    charts: Sequence[Chart]
    config_text: str
    environment: Mapping[str, Any]
    environment_text: str
    about: str = ""


def view_run(run: Path, *, anchor: str, heading: str | None = None, about: str = "") -> RunView:
    """Reads a run directory.

    Args:
        run: The directory.
        anchor: Where it will stand on the page.
        heading: By default the recipe and the directory's name.
        about: What the method does.

    Raises:
        RunError: if it holds no run, or one of its files is damaged.
    """
    config = read_config(run)
    environments = _json(run / "environment.json")
    if not isinstance(environments, list) or not environments:
        raise RunError(f"{run / 'environment.json'} is damaged: it names no environment")
    name = run.resolve().name
    recipe = str(config.get("recipe", name))
    result = read_result(run)
    numbers = [] if result is None else [_shown(number) for number in result["numbers"]]
    head = {} if result is None else result.get("headline") or {}
    by_name = {number.name: number for number in numbers}
    pictures = _pictures(run)
    main = next((own for own in pictures if own.name == head.get("picture")), None)
    main = main or (pictures[0] if pictures else None)
    first = by_name.get(head.get("number", ""))
    ordered = numbers if first is None else [first, *(own for own in numbers if own is not first)]
    return RunView(
        anchor=anchor,
        recipe=recipe,
        heading=heading or (recipe if recipe == name else f"{recipe}: {name}"),
        headline=head.get("sentence") or _progress_sentence(run, has_result=result is not None),
        headline_number=first,
        picture=main,
        numbers=ordered[:SHOWN_NUMBERS],
        more_numbers=ordered[SHOWN_NUMBERS:],
        tables=[] if result is None else result.get("tables", []),
        pictures=[own for own in pictures if own is not main],
        charts=_charts(run),
        config_text=json.dumps(config, indent=1),
        environment=environments[-1],
        environment_text=json.dumps(environments[-1], indent=1),
        about=about,
    )


def read_result(run: Path) -> dict[str, Any] | None:
    """What `result.json` holds; None when there is none yet.

    Raises:
        RunError: if it is damaged.
    """
    file = run / "result.json"
    if not file.exists():
        return None
    result = _json(file)
    if not isinstance(result, dict) or "numbers" not in result:
        raise RunError(f"{file} is damaged: it holds no numbers")
    return result


def _progress_sentence(run: Path, *, has_result: bool) -> str:
    """How far a run without a headline has come."""
    if has_result:
        return "This run is finished; its numbers and pictures follow."
    progress = read_progress(run)
    if progress is None:
        return "This run has not begun to train: no state and no result is saved yet."
    steps = f"{progress.done:,} of {progress.n_steps:,} steps"
    if progress.finished:
        return f"The training is finished ({steps}); it saved no numbers of its own, so its curves follow."
    return f"This run has not finished: {steps} are saved. It can be resumed."


def _shown(number: Mapping[str, Any]) -> ShownNumber:
    text = with_error(number["value"], number["standard_error"])
    return ShownNumber(number["name"], text, number["unit"], number["what"])


def _charts(run: Path) -> list[Chart]:
    file = run / "metrics.jsonl"
    if not file.exists():
        return []
    charts: dict[str, dict[str, tuple[list[float], list[Any]]]] = {}
    for row in read_metrics(file):
        for name, value in row.items():
            if name == "step":
                continue
            quantity, _, curve = name.partition("/")
            steps, values = charts.setdefault(quantity, {}).setdefault(curve or quantity, ([], []))
            steps.append(row["step"])
            values.append(value)
    if (run / "speed.jsonl").exists():
        speed = read_metrics(run / "speed.jsonl")
        steps = [row["step"] for row in speed]
        charts["steps a second"] = {"steps a second": (steps, [row["steps/s"] for row in speed])}
    return [line_chart(quantity, curves) for quantity, curves in charts.items()]


def _pictures(run: Path) -> list[Picture]:
    index = run / "figures" / "figures.json"
    if not index.exists():
        return []
    found = []
    for name, caption in _json(index).items():
        file = run / "figures" / name
        try:
            content = base64.b64encode(file.read_bytes()).decode()
        except OSError as error:
            raise RunError(f"{file} cannot be read: {error.strerror}") from error
        media, kind = ("svg+xml", "drawn") if name.endswith(".svg") else ("png", "ink")
        found.append(Picture(name, caption, f"data:image/{media};base64,{content}", kind))
    return found


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise RunError(f"{file} cannot be read as JSON: {error}") from error
