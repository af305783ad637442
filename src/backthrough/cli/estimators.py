"""`backthrough estimators compare MODULE:FUNCTION`."""

import contextlib
import importlib
import inspect
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

import backthrough
from backthrough.core import ArgumentError, BackthroughError, check_choice, check_integer

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
    module_name, _, function_name = name.partition(":")
    if not module_name or not function_name:
        raise ArgumentError(f"name the problem as MODULE:FUNCTION, got {name!r}")
    if "" not in sys.path:
        sys.path.insert(0, "")
    with _blaming_the_user():
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
                raise  # an import of theirs
            raise ArgumentError(f"cannot import {module_name!r}: {error}") from error
    known = [own for own in vars(module) if callable(getattr(module, own))]
    function = getattr(module, check_choice(f"function of {module_name}", function_name, known))
    needed = _needed_arguments(function)
    if needed:
        raise ArgumentError(
            f"{name} must work without arguments and return (f, dist), but it needs {', '.join(needed)}; "
            "name a function that calls it with them"
        )
    with _blaming_the_user():
        pair = function()
    if not (isinstance(pair, tuple) and len(pair) == 2 and callable(pair[0])):
        raise ArgumentError(f"{name} must return (f, dist), f a function of one sample; it returned {pair!r}")
    return pair


def _needed_arguments(function: Any) -> list[str]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # written in C, and says nothing
        return []
    return [
        own.name
        for own in parameters
        if own.default is own.empty and own.kind not in (own.VAR_POSITIONAL, own.VAR_KEYWORD)
    ]


def _compare(options: Compare, f: Any, distribution: Any) -> "Comparison":
    import jax

    from backthrough.estimators import compare, default_estimators, suitable_estimators

    everything = default_estimators()
    chosen = {name: everything[check_choice("estimator", name, everything)] for name in options.only}
    with _blaming_the_user():
        try:
            return compare(
                chosen or suitable_estimators(f, distribution),
                f,
                distribution,
                key=jax.random.key(options.seed),
                n_samples=options.n_samples,
            )
        except (jax.errors.JAXTypeError, jax.errors.JAXIndexError) as error:
            place = _place(error)
            if place is None:
                raise
            raise ArgumentError(
                f"{place}: JAX cannot trace f here ({type(error).__name__}). If f is NumPy or plain Python "
                "code, let the problem return (backthrough.estimators.numpy_function(f), dist): f is then "
                "called with many samples along the first axis and returns one number for each"
            ) from error


@contextlib.contextmanager
def _blaming_the_user() -> Iterator[None]:
    """Shows what the user's own code raises as theirs, with file and line."""
    try:
        yield
    except (ArgumentError, BackthroughError):
        raise
    except Exception as error:
        place = _place(error)
        if place is not None:
            first = str(error).partition("\n")[0]
            raise BackthroughError(f"{place}: your code raised {type(error).__name__}: {first}") from error
        place, message = _called_back(error)
        if message is None:
            raise
        where = "" if place is None else f"{place}: your code raised "
        raise BackthroughError(where + message) from error


def _place(error: BaseException) -> str | None:
    """File and line of the last code that is neither ours, nor Python's, nor a library's."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    return _last_of_theirs([(frame.filename, frame.lineno, frame.name) for frame in frames])


def _called_back(error: BaseException) -> tuple[str | None, str | None]:
    """Place and message of what a NumPy function raised, of which JAX keeps only the printed traceback."""
    text = str(error)
    frames = re.findall(r'File "(.+)", line (\d+), in (.+)', text)
    raised = re.findall(r"^([\w.]+(?:Error|Exception)): (.*)", text, re.MULTILINE)
    if not frames or not raised:
        return None, None
    kind, message = raised[-1]
    if kind.startswith("backthrough."):
        return None, message
    return _last_of_theirs(frames), f"{kind}: {message}"


def _last_of_theirs(frames: Sequence[tuple[str, Any, str]]) -> str | None:
    others = [Path(backthrough.__file__).parent, *map(Path, sysconfig.get_paths().values())]
    for name, line, function in reversed(frames):
        file = Path(name).absolute()
        if file.exists() and not any(file.is_relative_to(folder) for folder in others):
            return f"{name}:{line} in {function}"
    return None


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
