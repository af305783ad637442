"""What the commands that make a run share: where it goes, going on with it, and how it ends.

Such a command reads its words with `saved_config` and `parse_run`, before JAX is imported, so that wrong
use is refused at once; then it hands its work to `carry_out`.
"""

import itertools
import json
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from backthrough.core import ArgumentError, Interrupted
from backthrough.train.directory import holds_a_run

if TYPE_CHECKING:
    from backthrough.train import Run


@dataclass(frozen=True)
class Place:
    """Where a run goes."""

    run_dir: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Where the run goes; a new folder under runs/ by default."""
    resume: bool = False
    """Go on with the run in --run-dir, with the options it was started with; also fine when it is empty."""


def parse_run(
    call: type, arguments: Sequence[str], *, prog: str, description: str | None = None, default: Any = None
) -> Any:
    """The options of a command that makes a run.

    Args:
        call: A dataclass that has, beside what is the command's own, a field
            `place: tyro.conf.OmitArgPrefixes[Place] = dataclasses.field(default=Place())`.
        arguments: The words behind the command.
        prog: The command, for the help.
        description: For the help; the docstring of `call` when None.
        default: A `call` that gives the options their defaults.

    Raises:
        ArgumentError: if a run is to be resumed and none is named, or the directory cannot be used.
    """
    parsed = tyro.cli(
        call,
        args=list(arguments),
        prog=prog,
        description=description,
        default=tyro.MISSING_NONPROP if default is None else default,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    if parsed.place.resume and parsed.place.run_dir is None:
        raise ArgumentError("--resume needs --run-dir DIR, the run to go on with")
    if parsed.place.run_dir is not None and parsed.place.run_dir.is_dir():
        holds_a_run(parsed.place.run_dir, resume=parsed.place.resume)  # or refuses what it holds
    return parsed


def saved_config(arguments: Sequence[str], name: str) -> dict[str, Any]:
    """The configuration of the run that these words ask to resume; empty when they don't, or there is none.

    It gives the options their defaults. Those given again must agree, or `carry_out` refuses them by name.

    Args:
        arguments: The words behind the command.
        name: What `config.json` must name as its recipe.

    Raises:
        ArgumentError: if there is a run of something else.
    """
    folder = find_option(arguments, "--run-dir")
    if folder is None or "--resume" not in arguments:
        return {}
    try:
        saved = json.loads((Path(folder) / "config.json").read_bytes())
    except (OSError, ValueError):
        return {}  # there is none; or it is damaged, which is found when the run is opened
    if not isinstance(saved, dict):
        return {}
    if saved.get("recipe", name) != name:
        raise ArgumentError(f"{folder} holds a run of {saved['recipe']}, not of {name}")
    return saved


def find_option(arguments: Sequence[str], name: str) -> str | None:
    """The value of an option, before the others are read."""
    found = None
    for word, following in itertools.zip_longest(arguments, arguments[1:]):
        own, equals, value = word.partition("=")
        if own.replace("_", "-") == name:
            found = value if equals else following
    return found


def carry_out(
    name: str,
    work: Callable[["Run"], object],
    *,
    place: Place,
    config: Mapping[str, Any],
    again: Sequence[str],
    shards: int | None = None,
    devices: int | None = None,
    is_first: bool = True,
) -> int:
    """Opens the run, does the work in it, writes its page and prints its numbers.

    Args:
        name: Of the recipe or command.
        work: What is done in the run; called again when it is resumed.
        place: Where.
        config: What is asked for, as JSON values; a resumed run must have the same.
        again: The command that would do this, without --run-dir and --resume, to tell how to go on.
        shards: As in `Run`.
        devices: As in `Run`.
        is_first: Whether this process is the one that writes.

    Returns:
        The exit code: 0, or that of the signal which has stopped the work.
    """
    from backthrough.cli.numbers import print_numbers
    from backthrough.report import write_page
    from backthrough.train import Run, plot_style, use_compile_cache

    use_compile_cache()
    run = Run(
        place.run_dir or fresh_directory(name),
        config={"recipe": name, **config},
        resume=place.resume,
        shards=shards,
        devices=devices,
    )
    if place.resume and is_first and not run.is_resumed:
        print(f"backthrough: {run.path} holds no run yet: this starts one", file=sys.stderr)
    started = time.monotonic()
    try:
        with plot_style():
            work(run)
    except (Interrupted, KeyboardInterrupt) as error:
        return say_stopped(error, [*again, "--run-dir", str(place.run_dir or run.path)])
    except BaseException:
        run.remove_if_unused()
        raise
    if not is_first:
        return 0
    page = write_page([run.path], run.path / "report.html")
    print_numbers(run.path)
    print(f"done in {time.monotonic() - started:.0f} s: {page}")
    return 0


def say_stopped(error: BaseException, again: Sequence[str]) -> int:
    """Says what has stopped and which command goes on with it; returns the exit code, 128 + the signal."""
    words = shlex.join([*again, "--resume"])
    print(f"backthrough: {str(error) or 'stopped'}. Go on with:\n  {words}", file=sys.stderr)
    return 128 + (error.signal if isinstance(error, Interrupted) else 2)


def fresh_directory(name: str) -> Path:
    """A path under `runs/` that does not exist yet: the name and the time."""
    path = Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    while path.exists():
        path = path.with_name(f"{path.name}x")
    return path
