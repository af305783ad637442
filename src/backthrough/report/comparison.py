"""Several runs of one recipe side by side: what differs, means over seeds, paired differences, curves."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from backthrough.report.charts import Chart, Values, line_chart
from backthrough.train import read_config, read_metrics, with_error

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


@dataclass(frozen=True)
class Table:
    """A table of the page: its heads, its rows (a name and cells), and what stands below it."""

    head: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str]]]
    note: str


@dataclass(frozen=True)
class Comparison:
    """A section of the page that compares runs of one recipe."""

    heading: str
    headline: str
    tables: Sequence[Table]
    charts: Sequence[Chart]


def compare_runs(recipe: str, runs: Sequence[Path], results: Mapping[Path, Mapping[str, Any]]) -> Comparison:
    """What a page says of several runs of one recipe.

    Args:
        recipe: Its name.
        runs: Directories, two at least.
        results: For each run that has one its result.
    """
    variants = find_variants(runs)
    numbers = {run: result["numbers"] for run, result in results.items()}
    charts: dict[str, dict[str, Values]] = {}
    for variant in variants:
        for name, curve in _curves(variant).items():
            charts.setdefault(name, {})[variant.label] = curve
    tables = [_table(variants, numbers)]
    if len(variants) > 1:
        tables.append(_differences(variants, numbers))
    return Comparison(
        heading=f"{recipe}: {len(runs)} runs compared",
        headline=_headline(variants, results),
        tables=[table for table in tables if table.rows],
        charts=[line_chart(name, curves, of="runs") for name, curves in charts.items()],
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


def _headline(variants: Sequence[Variant], results: Mapping[Path, Mapping[str, Any]]) -> str:
    """What the number that the recipe's own headline rests on says of the variants."""
    if not results:
        return "None of these runs has saved a result yet."
    name = next((own["headline"]["number"] for own in results.values() if own.get("headline")), None)
    if len(variants) == 1:
        return "These runs differ in their seed alone."
    if name is None:
        return f"They differ in {_fields(variants)}."
    numbers = {run: result["numbers"] for run, result in results.items()}
    means = []
    for variant in variants:
        values = list(_by_seed(variant, numbers, name, by_run=True).values())
        if values:
            error = float(np.std(values, ddof=1)) if len(values) > 1 else None
            means.append(f"{with_error(float(np.mean(values)), error)} with {variant.label}")
    return f"{name}: {'; '.join(means)}."


def _fields(variants: Sequence[Variant]) -> str:
    return ", ".join(part.partition("=")[0] for part in variants[0].label.split(", "))


def _table(variants: Sequence[Variant], results: Mapping[Path, Sequence[Mapping[str, Any]]]) -> Table:
    rows = []
    for name, unit in _names(variants, results):
        cells = []
        for variant in variants:
            found = [
                number for run in variant.runs for number in results.get(run, ()) if number["name"] == name
            ]
            values = np.array([number["value"] for number in found])
            if not any(run in results for run in variant.runs):
                cells.append("not finished")
            elif len(found) == 0:
                cells.append("-")
            elif len(found) == 1:
                cells.append(f"{with_error(found[0]['value'], found[0]['standard_error'])} (1 run)")
            else:
                spread = with_error(float(values.mean()), float(values.std(ddof=1)))
                cells.append(f"{spread} ({len(found)} runs)")
        rows.append((f"{name} ({unit})" if unit else name, cells))
    return Table(
        ["Number", *(variant.label for variant in variants)],
        rows,
        "Mean over runs ± their standard deviation; of one run, its value ± the standard error it states.",
    )


def _differences(variants: Sequence[Variant], results: Mapping[Path, Sequence[Mapping[str, Any]]]) -> Table:
    first, *others = variants
    rows = []
    for name, unit in _names(variants, results):
        base = _by_seed(first, results, name)
        cells = []
        for variant in others:
            found = paired_difference(base, _by_seed(variant, results, name))
            if not all(any(run in results for run in own.runs) for own in (first, variant)):
                cells.append("not finished")
            elif found is None:
                cells.append("no seed in common")
            else:
                mean, error, pairs = found
                cells.append(f"{with_error(mean, error)} ({pairs} pair{'s' if pairs > 1 else ''})")
        rows.append((f"{name} ({unit})" if unit else name, cells))
    return Table(
        [f"Difference to {first.label}", *(variant.label for variant in others)],
        rows,
        "Mean over the seeds that both have ± its standard error.",
    )


def _curves(variant: Variant) -> dict[str, Values]:
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
    variant: Variant,
    results: Mapping[Path, Sequence[Mapping[str, Any]]],
    name: str,
    *,
    by_run: bool = False,
) -> dict[Any, float]:
    """The values of a number by the seed of their run, or by their run."""
    return {
        run if by_run else seed: number["value"]
        for run, seed in zip(variant.runs, variant.seeds, strict=True)
        for number in results.get(run, ())
        if number["name"] == name
    }
