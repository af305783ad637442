"""One HTML page, in one file, from one run or several: what came out, then numbers, pictures and curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import jinja2

from backthrough.core.files import write_atomically
from backthrough.report.comparison import Comparison, compare_runs
from backthrough.report.run_view import read_result, view_run
from backthrough.train import read_config


@dataclass(frozen=True)
class About:
    """What a reader should know of a method before its numbers.

    Attributes:
        heading: Its name.
        sentence: What it does.
    """

    heading: str
    sentence: str


def write_page(
    runs: Sequence[Path],
    out: Path,
    *,
    title: str | None = None,
    introduction: str = "",
    about: Mapping[str, About] | None = None,
) -> Path:
    """Writes a self-contained page about the runs; several of one recipe are compared first.

    Args:
        runs: Run directories, in the order shown.
        out: The HTML file, replaced if it exists.
        title: Heading; by default the name of the run.
        introduction: A sentence below it.
        about: For each recipe its method; then the page opens with a card for each run.

    Returns:
        `out`.

    Raises:
        RunError: if a directory holds no run, or one of its files is damaged.
    """
    runs = [Path(run) for run in runs]
    views = []
    for index, run in enumerate(runs):
        own = (about or {}).get(str(read_config(run).get("recipe")))
        anchor = f"run-{index + 1}"
        if own is None:
            views.append(view_run(run, anchor=anchor))
        else:
            views.append(view_run(run, anchor=anchor, heading=own.heading, about=own.sentence))
    assets = files("backthrough.report") / "assets"
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("backthrough.report", "assets"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    html = environment.get_template("page.html").render(
        title=title or ", ".join(dict.fromkeys(view.heading for view in views)),
        introduction=introduction,
        cards=views if about else [],
        comparisons=_comparisons(runs),
        runs=views,
        css=(assets / "page.css").read_text(),
        js=(assets / "page.js").read_text(),
    )
    write_atomically(out, (html + "\n").encode())
    return out


def _comparisons(runs: Sequence[Path]) -> list[Comparison]:
    """A comparison for each recipe that there are several runs of."""
    by_recipe: dict[str, list[Path]] = {}
    for run in dict.fromkeys(runs):
        by_recipe.setdefault(str(read_config(run).get("recipe", "runs")), []).append(run)
    return [
        compare_runs(recipe, own, {run: result for run in own if (result := read_result(run)) is not None})
        for recipe, own in by_recipe.items()
        if len(own) > 1
    ]
