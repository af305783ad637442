"""`backthrough run RECIPE`: one experiment into a run directory."""

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
from backthrough.train import Run, use_compile_cache


def main(arguments: list[str]) -> int:
    """Parses the recipe's name and options, runs it, and writes its page."""
    if not arguments or arguments[0].startswith("-"):
        print(_usage())
        return 0 if arguments and arguments[0] in ("-h", "--help") else 2
    recipe = find_recipe(arguments[0])
    module = recipe.load()
    call = _parse(recipe.name, module, arguments[1:])
    config = {"recipe": recipe.name, **dataclasses.asdict(call.config)}
    path = call.run_dir or fresh_directory(recipe.name)
    use_compile_cache()
    if call.devices > 1:
        jax.config.update("jax_num_cpu_devices", call.devices)  # of no effect on GPUs
    shards = call.shards or call.devices
    config["shards"] = shards
    run = Run(path, config=config, resume=call.resume, shards=shards, devices=call.devices)
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
    page = write_page([run.path], run.path / "report.html")
    print_numbers(run.path)
    print(f"done in {time.monotonic() - started:.0f} s: {page}")
    return 0


def _usage() -> str:
    lines = [f"  {recipe.name:<14} {recipe.summary}" for recipe in RECIPES.values()]
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
            _field("devices", int, 1, "Devices that each batch is spread over."),
            _field(
                "shards",
                int | None,
                None,
                "Parts of a batch, each with its own noise; the numbers depend on "
                "these and not on the devices. One for each device by default.",
            ),
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
    check_integer("devices", parsed.devices, minimum=1)
    if parsed.resume and parsed.run_dir is None:
        raise ArgumentError("--resume needs --run-dir DIR, the run to go on with")
    return parsed


def _field(name: str, kind: Any, default: Any, text: str) -> tuple[str, Any, Any]:
    return name, Annotated[kind, tyro.conf.arg(help=text)], dataclasses.field(default=default)


def _resume_arguments(arguments: list[str], path: Path) -> list[str]:
    if not any(word.replace("_", "-").startswith("--run-dir") for word in arguments):
        arguments = [*arguments, "--run-dir", str(path)]
    return arguments if "--resume" in arguments else [*arguments, "--resume"]
