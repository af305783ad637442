"""`backthrough estimators compare MODULE:FUNCTION`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from backthrough.cli.problems import blaming_the_user, call_problem, place_of
from backthrough.core import ArgumentError, check_choice, check_integer

if TYPE_CHECKING:
    from backthrough.estimators import Comparison

SURE = 6.0  # standard errors from which on a bias is taken as measured


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
    check_integer("seed", options.seed, minimum=0)
    f, distribution = load_problem(options.problem)
    found = _compare(options, f, distribution)
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
        ArgumentError: if there is no such module or function, it needs arguments, or it returns no pair.
        BackthroughError: if the user's own code fails, naming where.
    """
    pair = call_problem(name, "(f, dist)")
    if not (isinstance(pair, tuple) and len(pair) == 2 and callable(pair[0])):
        raise ArgumentError(f"{name} must return (f, dist), f a function of one sample; it returned {pair!r}")
    return pair


def _compare(options: Compare, f: Any, distribution: Any) -> "Comparison":
    import jax

    from backthrough.estimators import compare, default_estimators, suitable_estimators

    everything = default_estimators()
    chosen = {name: everything[check_choice("estimator", name, everything)] for name in options.only}
    with blaming_the_user():
        try:
            return compare(
                chosen or suitable_estimators(f, distribution),
                f,
                distribution,
                key=jax.random.key(options.seed),
                n_samples=options.n_samples,
            )
        except (jax.errors.JAXTypeError, jax.errors.JAXIndexError) as error:
            place = place_of(error)
            if place is None:
                raise
            raise ArgumentError(
                f"{place}: JAX cannot trace f here ({type(error).__name__}). If f is NumPy or plain Python "
                "code, let the problem return (backthrough.estimators.numpy_function(f), dist): f is then "
                "called with many samples along the first axis and returns one number for each"
            ) from error


def _print(found: "Comparison") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("estimator", "bias z", "variance", "f calls", "µs", "by design"):
        left = heading in ("estimator", "by design")
        table.add_column(heading, justify="left" if left else "right", no_wrap=True)
    for name, row in found.table().iterrows():
        seen = bool(row["bias z"] > SURE)
        measured = f"{row['relative bias']:.0%} off" if seen else "not seen here"
        table.add_row(
            str(name),
            f"{row['bias z']:.1f}",
            f"{row['variance']:.4g}",
            str(row["evaluations"]),
            f"{row['microseconds']:.3g}",
            "unbiased" if bool(row["unbiased"]) else f"biased, {measured}",
        )
    Console().print(table)
    print(f"""
bias z     measured: standard errors between the mean of {found.n_samples:,} gradients and the truth, by
           {found.reference}. Above {SURE:g} it is bias; below, a bias may be too small for so many to show.
by design  what theory says of the estimator, whatever was measured; a size in % of the gradient's length""")
