"""One HTML page from one run or several: numbers, curves, pictures, command and environment, in one file."""

import base64
import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from backthrough.core import RunError
from backthrough.core.files import write_atomically
from backthrough.report.charts import line_chart
from backthrough.report.comparison import comparison
from backthrough.report.formatting import with_error
from backthrough.train import read_config, read_metrics


def write_page(runs: Sequence[Path], out: Path, *, title: str | None = None) -> Path:
    """Writes a self-contained page about the runs; several of one recipe are compared first.

    Args:
        runs: Run directories, in the order shown.
        out: The HTML file, replaced if it exists.
        title: Heading; by default the name of the run.

    Returns:
        `out`.

    Raises:
        RunError: if a directory holds no run, or one of its files is damaged.
    """
    runs = [Path(run) for run in runs]
    sections = [*_comparisons(runs), *(_section(run) for run in runs)]
    title = title or ", ".join(dict.fromkeys(Path(run).resolve().name for run in runs))
    assets = files("backthrough.report") / "assets"
    html = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{(assets / 'page.css').read_text()}</style></head>"
        f"<body><h1>{escape(title)}</h1>{''.join(sections)}"
        f"<script>{(assets / 'page.js').read_text()}</script></body></html>\n"
    )
    write_atomically(out, html.encode())
    return out


def _comparisons(runs: Sequence[Path]) -> list[str]:
    """A comparison for each recipe that there are several runs of."""
    by_recipe: dict[str, list[Path]] = {}
    for run in dict.fromkeys(runs):
        by_recipe.setdefault(str(read_config(run).get("recipe", "runs")), []).append(run)
    return [
        comparison(recipe, own, {r: _result(r / "result.json") for r in own if (r / "result.json").exists()})
        for recipe, own in by_recipe.items()
        if len(own) > 1
    ]


def _section(run: Path) -> str:
    config = read_config(run)
    environments = _json(run / "environment.json")
    if not isinstance(environments, list) or not environments:
        raise RunError(f"{run / 'environment.json'} is damaged: it names no environment")
    environment = environments[-1]
    return "".join(
        [
            f"<h2>{escape(_heading(config, run))}</h2>",
            _numbers(run),
            _figures(run),
            _charts(run),
            f"<h3>Made with</h3><pre>{escape(environment['command'])}</pre>",
            f'<p class="soft">{escape(environment["machine"])}; Python {escape(environment["python"])}, '
            f"JAX {escape(environment['libraries']['jax'])}, "
            f"backthrough {escape(environment['libraries']['backthrough'])}; "
            f"started {escape(environment['started'])}</p>",
            _details("Configuration", config),
            _details("Environment", environment),
        ]
    )


def _numbers(run: Path) -> str:
    file = run / "result.json"
    if not file.exists():
        return '<p class="lead">This run has not finished: there is no result yet.</p>'
    rows = "".join(
        f"<tr><td>{escape(number['name'])}</td><td class='number'>"
        f"{escape(with_error(number['value'], number['standard_error']))} {escape(number['unit'])}</td>"
        f"<td class='what'>{escape(number['what'])}</td></tr>"
        for number in _result(file)
    )
    return (
        '<div class="scroll"><table><thead><tr><th>Number</th><th>Value ± standard error</th>'
        f"<th>Over what</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _charts(run: Path) -> str:
    file = run / "metrics.jsonl"
    if not file.exists():
        return ""
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
        charts["steps a second"] = {"": ([row["step"] for row in speed], [row["steps/s"] for row in speed])}
    drawn = "".join(line_chart(quantity, curves) for quantity, curves in charts.items())
    return f'<h3>Training</h3><div class="charts">{drawn}</div>' if drawn else ""


def _figures(run: Path) -> str:
    index = run / "figures" / "figures.json"
    if not index.exists():
        return ""
    shown = []
    for name, caption in _json(index).items():
        content = base64.b64encode((run / "figures" / name).read_bytes()).decode()
        kind, style = ("svg+xml", "plot") if name.endswith(".svg") else ("png", "pixels")
        shown.append(
            f'<figure><img class="{style}" alt="{escape(caption)}" src="data:image/{kind};base64,{content}">'
            f"<figcaption>{escape(caption)}</figcaption></figure>"
        )
    return f'<h3>Pictures</h3><div class="figures">{"".join(shown)}</div>'


def _details(summary: str, value: Any) -> str:
    text = escape(json.dumps(value, indent=1))
    return f"<details><summary>{escape(summary)}</summary><pre>{text}</pre></details>"


def _heading(config: dict[str, Any], run: Path) -> str:
    name = run.resolve().name
    recipe = str(config.get("recipe", name))
    return recipe if recipe == name else f"{recipe}: {name}"


def _result(file: Path) -> list[dict[str, Any]]:
    result = _json(file)
    if not isinstance(result, dict) or "numbers" not in result:
        raise RunError(f"{file} is damaged: it holds no numbers")
    return result["numbers"]


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise RunError(f"{file} cannot be read as JSON: {error}") from error
