"""`backthrough run RECIPE`: one experiment into a run directory."""

import contextlib
import dataclasses
import shlex
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import tyro

from backthrough.cli.numbers import print_numbers
from backthrough.cli.paths import fresh_directory
from backthrough.core import ArgumentError, Interrupted, check_integer
from backthrough.recipes import RECIPES, find_recipe
from backthrough.report import write_page
from backthrough.train import Group, Run, join, use_compile_cache


def main(arguments: list[str]) -> int:
    """Parses the recipe's name and options, runs it, and writes its page."""
    if not arguments or arguments[0].startswith("-"):
        print(_usage())
        return 0 if arguments and arguments[0] in ("-h", "--help") else 2
    recipe = find_recipe(arguments[0])
    module = recipe.load()
    call = _parse(recipe.name, module, arguments[1:])
    use_compile_cache()
    here = (call.devices or 1) // (call.processes or 1)
    if here > 1:
        jax.config.update("jax_num_cpu_devices", here)  # of no effect on GPUs
    with _together(call) as group:
        return _run(recipe.name, module, call, arguments, group.is_first)


def _together(call: Any) -> contextlib.AbstractContextManager[Group]:
    """The processes of this run, once they have found each other."""
    if call.coordinator is None:
        return contextlib.nullcontext(Group())
    return join(call.coordinator, process=call.process, processes=call.processes, timeout=call.join_timeout)


def _run(name: str, module: Any, call: Any, arguments: list[str], is_first: bool) -> int:
    path = call.run_dir or fresh_directory(name)
    devices = call.devices or (1 if call.coordinator is None else jax.device_count())
    shards = call.shards or devices
    config = {"recipe": name, **dataclasses.asdict(call.config), "shards": shards}
    run = Run(path, config=config, resume=call.resume, shards=shards, devices=devices)
    started = time.monotonic()
    try:
        module.run(call.config, run)
    except (Interrupted, KeyboardInterrupt) as error:
        resume = shlex.join(["backthrough", "run", *_resume_arguments(arguments, path)])
        print(f"backthrough: {str(error) or 'stopped'}. Go on with:\n  {resume}", file=sys.stderr)
        return 1
    except BaseException:
        run.remove_if_unused()
        raise
    if not is_first:
        return 0
    page = write_page([run.path], run.path / "report.html")
    print_numbers(run.path)
    print(f"done in {time.monotonic() - started:.0f} s: {page}")
    return 0


def _usage() -> str:
    lines = [f"  {recipe.name:<18} {recipe.summary}" for recipe in RECIPES.values()]
    return "\n".join(
        [
            "usage: backthrough run RECIPE [--run-dir DIR] [--resume] [--scale quick|full] [options]",
            "",
            "recipes:",
            *lines,
            "",
            "the options of one: backthrough run RECIPE --help",
        ]
    )


def _parse(name: str, module: Any, options: list[str]) -> Any:
    """The options of a recipe; the defaults are those of the scale that is asked for."""
    scale = "quick"
    for index, option in enumerate(options):
        if option == "--scale" and index + 1 < len(options):
            scale = options[index + 1]
        elif option.startswith("--scale="):
            scale = option.removeprefix("--scale=")
    default = module.SCALES.get(scale, module.SCALES["quick"])  # an unknown scale is refused below
    call = dataclasses.make_dataclass(
        "Call",
        [
            _field("run_dir", Path | None, None, "Where the run goes; a new folder under runs/ by default."),
            _field("resume", bool, False, "Go on with the run in --run-dir; also fine when it is empty."),
            _field(
                "scale",
                Literal["quick", "full"],
                "quick",
                "Which defaults: quick (under a minute on two cores) or full (the paper's).",
            ),
            _field(
                "devices",
                int | None,
                None,
                "Devices that each batch is spread over, those of all processes together; one by default, "
                "or all that several processes have.",
            ),
            _field(
                "shards",
                int | None,
                None,
                "Parts of a batch, each with its own noise; the numbers depend on "
                "these and not on the devices. One for each device by default.",
            ),
            _field(
                "coordinator",
                str | None,
                None,
                "HOST:PORT at which the first of several processes listens (and at the port after it). "
                "Start the same command in each, with its own --process.",
            ),
            _field("process", int | None, None, "Number of this process, from 0; 0 writes the run."),
            _field("processes", int | None, None, "How many processes there are."),
            _field("join_timeout", float, 60.0, "Seconds to wait for the other processes."),
            ("config", tyro.conf.OmitArgPrefixes[module.Config], dataclasses.field(default=default)),
        ],
    )
    parsed = tyro.cli(
        call,
        args=options,
        prog=f"backthrough run {name}",
        description=module.__doc__,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    if parsed.devices is not None:
        check_integer("devices", parsed.devices, minimum=1)
    several = (parsed.coordinator, parsed.process, parsed.processes)
    if any(value is not None for value in several) and None in several:
        raise ArgumentError("several processes need all of --coordinator, --process and --processes")
    if parsed.resume and parsed.run_dir is None:
        raise ArgumentError("--resume needs --run-dir DIR, the run to go on with")
    return parsed


def _field(name: str, kind: Any, default: Any, text: str) -> tuple[str, Any, Any]:
    return name, Annotated[kind, tyro.conf.arg(help=text)], dataclasses.field(default=default)


def _resume_arguments(arguments: list[str], path: Path) -> list[str]:
    if not any(word.replace("_", "-").startswith("--run-dir") for word in arguments):
        arguments = [*arguments, "--run-dir", str(path)]
    return arguments if "--resume" in arguments else [*arguments, "--resume"]
