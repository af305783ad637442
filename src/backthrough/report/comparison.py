"""Several runs of one recipe side by side: what differs, means over seeds, paired differences, curves."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from backthrough.report.charts import Curve, line_chart
from backthrough.report.formatting import with_error
from backthrough.train import read_config, read_metrics

IGNORED = ("recipe", "seed", "shards")


@dataclass(frozen=True)
class Variant:
    """The runs that differ in nothing but their seed.

    Attributes:
        label: The fields in which its configuration differs from those of the other variants.
        runs: Their directories.
        seeds: Their seeds, None where a configuration has none.
    """

    label: str
    runs: tuple[Path, ...]
    seeds: tuple[Any, ...]


def find_variants(runs: Sequence[Path]) -> list[Variant]:
    """Groups runs of one recipe by their configuration, in the order in which they are given."""
    groups: dict[str, list[tuple[Path, dict[str, Any]]]] = {}
    for run in runs:
        config = read_config(run)
        own = {name: value for name, value in config.items() if name not in IGNORED}
        groups.setdefault(json.dumps(own, sort_keys=True), []).append((run, config))
    configs = [members[0][1] for members in groups.values()]
    names = [
        name
        for name in dict.fromkeys(name for config in configs for name in config)
        if name not in IGNORED and len({json.dumps(config.get(name)) for config in configs}) > 1
    ]
    variants = []
    for members, config in zip(groups.values(), configs, strict=True):
        label = ", ".join(f"{name}={config.get(name)}" for name in names) or "all runs"
        seeds = tuple(config.get("seed") for _, config in members)
        variants.append(Variant(label, tuple(run for run, _ in members), seeds))
    return variants


def comparison(recipe: str, runs: Sequence[Path], results: Mapping[Path, Sequence[Mapping[str, Any]]]) -> str:
    """A section of the page that compares runs of one recipe.

    Args:
        recipe: Its name.
        runs: Directories, two at least.
        results: For each finished run its numbers.
    """
    variants = find_variants(runs)
    return "".join(
        [
            f"<h2>{escape(recipe)}: {len(runs)} runs compared</h2>",
            _table(variants, results),
            _differences(variants, results),
            _charts(variants),
        ]
    )


def paired_difference(
    one: Mapping[Any, float], other: Mapping[Any, float]
) -> tuple[float, float | None, int] | None:
    """Mean of `other` minus `one` over the seeds that both have, its standard error, and their number."""
    seeds = [seed for seed in one if seed in other and seed is not None]
    if not seeds:
        return None
    differences = np.array([other[seed] - one[seed] for seed in seeds])
    error = differences.std(ddof=1) / np.sqrt(len(seeds)) if len(seeds) > 1 else None
    return float(differences.mean()), None if error is None else float(error), len(seeds)


def _table(variants: Sequence[Variant], results: Mapping[Path, Sequence[Mapping[str, Any]]]) -> str:
    rows = []
    for name, unit in _names(variants, results):
        cells = []
        for variant in variants:
            found = [
                number for run in variant.runs for number in results.get(run, ()) if number["name"] == name
            ]
            values = np.array([number["value"] for number in found])
            if len(found) == 0:
                cells.append("not finished")
            elif len(found) == 1:
                cells.append(f"{with_error(found[0]['value'], found[0]['standard_error'])} (1 run)")
            else:
                spread = with_error(float(values.mean()), float(values.std(ddof=1)))
                cells.append(f"{spread} ({len(found)} runs)")
        rows.append((f"{name} ({unit})" if unit else name, cells))
    return _html_table(
        "Number",
        [variant.label for variant in variants],
        rows,
        "Mean over runs ± their standard deviation; of one run, its value ± the standard error it states.",
    )


def _differences(variants: Sequence[Variant], results: Mapping[Path, Sequence[Mapping[str, Any]]]) -> str:
    first, *others = variants
    rows = []
    for name, unit in _names(variants, results):
        base = _by_seed(first, results, name)
        cells = []
        for variant in others:
            found = paired_difference(base, _by_seed(variant, results, name))
            if found is None:
                cells.append("no seed in common")
            else:
                mean, error, pairs = found
                cells.append(f"{with_error(mean, error)} ({pairs} pair{'s' if pairs > 1 else ''})")
        rows.append((f"{name} ({unit})" if unit else name, cells))
    if not others:
        return ""
    return _html_table(
        f"Difference to {first.label}",
        [variant.label for variant in others],
        rows,
        "Mean over the seeds that both have ± its standard error.",
    )


def _charts(variants: Sequence[Variant]) -> str:
    charts: dict[str, dict[str, Curve]] = {}
    for variant in variants:
        for name, curve in _curves(variant).items():
            charts.setdefault(name, {})[variant.label] = curve
    drawn = "".join(line_chart(name, curves, of="runs") for name, curves in charts.items())
    return f'<div class="charts">{drawn}</div>' if drawn else ""


def _curves(variant: Variant) -> dict[str, Curve]:
    """For each metric the steps that all runs have, and the values of all runs at each."""
    series: dict[str, list[dict[int, Any]]] = {}
    for run in variant.runs:
        own: dict[str, dict[int, Any]] = {}
        for row in read_metrics(run / "metrics.jsonl") if (run / "metrics.jsonl").exists() else ():
            for name, value in row.items():
                if name != "step":
                    own.setdefault(name, {})[row["step"]] = value
        for name, values in own.items():
            series.setdefault(name, []).append(values)
    curves = {}
    for name, each in series.items():
        steps = sorted(set.intersection(*(set(values) for values in each)))
        if not steps:
            continue
        together = [np.concatenate([np.atleast_1d(values[step]) for values in each]) for step in steps]
        single = len(together[0]) == 1
        curves[name] = (steps, [float(v[0]) if single else v.tolist() for v in together])
    return curves


def _names(
    variants: Sequence[Variant], results: Mapping[Path, Sequence[Mapping[str, Any]]]
) -> list[tuple[str, str]]:
    runs = [run for variant in variants for run in variant.runs]
    found = {number["name"]: number["unit"] for run in runs for number in results.get(run, ())}
    return list(found.items())


def _by_seed(
    variant: Variant, results: Mapping[Path, Sequence[Mapping[str, Any]]], name: str
) -> dict[Any, float]:
    return {
        seed: number["value"]
        for run, seed in zip(variant.runs, variant.seeds, strict=True)
        for number in results.get(run, ())
        if number["name"] == name
    }


def _html_table(
    first: str, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]], note: str
) -> str:
    if not rows:
        return '<p class="lead">None of these runs has finished: there is no result yet.</p>'
    head = "".join(f"<th>{escape(column)}</th>" for column in (first, *columns))
    body = ""
    for name, cells in rows:
        shown = "".join(f'<td class="number">{escape(cell)}</td>' for cell in cells)
        body += f"<tr><td>{escape(name)}</td>{shown}</tr>"
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        f'<p class="soft">{escape(note)}</p>'
    )
