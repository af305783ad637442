"""`backthrough estimators compare MODULE:FUNCTION`."""

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import tyro
from rich.console import Console
from rich.table import Table

from backthrough.core import ArgumentError, check_choice, check_integer
from backthrough.estimators import Comparison, compare, default_estimators, suitable_estimators


@dataclass(frozen=True)
class Compare:
    """Bias, variance and time of gradient estimators on your own function and distribution."""

    problem: tyro.conf.Positional[str]
    """MODULE:FUNCTION. The function takes no arguments and returns (f, dist), as `expect` takes them."""
    only: tuple[str, ...] = ()
    """Estimators; all that work for this problem when none is named."""
    n_samples: int = 10_000
    """Gradients drawn from each."""
    seed: int = 0
    """Determines the draws."""
    csv: Path | None = None
    """Also write the table to this file."""
    plot: Path | None = None
    """Also draw variance against time into this file (.png, .svg, .pdf)."""


def main(arguments: list[str]) -> int:
    """Compares."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: backthrough estimators compare MODULE:FUNCTION [options]   (it has --help)")
        return 0 if arguments else 2
    check_choice("estimators command", arguments[0], ["compare"])
    options = tyro.cli(Compare, args=arguments[1:], prog="backthrough estimators compare")
    f, distribution = load_problem(options.problem)
    check_integer("seed", options.seed, minimum=0)
    everything = default_estimators()
    chosen = {name: everything[check_choice("estimator", name, everything)] for name in options.only}
    found = compare(
        chosen or suitable_estimators(f, distribution),
        f,
        distribution,
        key=jax.random.key(options.seed),
        n_samples=options.n_samples,
    )
    _print(found)
    if options.csv is not None:
        found.table().to_csv(options.csv)
    if options.plot is not None:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7.5, 4.5), layout="constrained")
        found.plot(figure.subplots())
        figure.savefig(options.plot)
    return 0


def load_problem(name: str) -> tuple[Any, Any]:
    """(f, dist) from the user's function; modules of the current folder are found.

    Raises:
        ArgumentError: if there is no such module or function, or it does not return a pair.
    """
    module_name, _, function_name = name.partition(":")
    if not module_name or not function_name:
        raise ArgumentError(f"name the problem as MODULE:FUNCTION, got {name!r}")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ArgumentError(f"cannot import {module_name!r}: {error}") from error
    known = [own for own in vars(module) if callable(getattr(module, own))]
    function = getattr(module, check_choice(f"function of {module_name}", function_name, known))
    pair = function()
    if not (isinstance(pair, tuple) and len(pair) == 2 and callable(pair[0])):
        raise ArgumentError(f"{name} must return (f, dist), f a function of one sample; it returned {pair!r}")
    return pair


def _print(found: Comparison) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("estimator", "bias z", "variance", "f calls", "µs", ""):
        table.add_column(heading, justify="left" if heading in ("estimator", "") else "right", no_wrap=True)
    for name, row in found.table().iterrows():
        table.add_row(
            str(name),
            f"{row['bias z']:.1f}",
            f"{row['variance']:.4g}",
            str(row["evaluations"]),
            f"{row['microseconds']:.3g}",
            "" if bool(row["unbiased"]) else f"biased, {row['relative bias']:.0%}",
        )
    Console().print(table)
    print(f"\n{found.n_samples:,} gradients each; bias against {found.reference}; a z above 6 is bias,")
    print("whose size is in per cent of the gradient's length")
