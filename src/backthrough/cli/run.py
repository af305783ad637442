"""`backthrough run RECIPE`: one experiment into a run directory."""

import contextlib
import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import tyro

from backthrough.cli.runs import Place, carry_out, find_option, parse_run, saved_config
from backthrough.core import ArgumentError, check_integer
from backthrough.recipes import RECIPES, Recipe, find_recipe
from backthrough.recipes.configs import settle_sources, with_saved


@dataclasses.dataclass(frozen=True)
class Spread:
    """Over which devices and processes a run is spread."""

    devices: int | None = None
    """Devices that each batch is spread over, those of all processes together; one by default, or all that
    several processes have."""
    shards: int | None = None
    """Parts of a batch, each with its own noise; the numbers depend on these and not on the devices. One for
    each device by default."""
    coordinator: str | None = None
    """HOST:PORT at which the first of several processes listens (and at the port after it). Start the same
    command in each, with its own --process."""
    process: int | None = None
    """Number of this process, from 0; 0 writes the run."""
    processes: int | None = None
    """How many processes there are."""
    join_timeout: float = 60.0
    """Seconds to wait for the other processes."""


def main(arguments: list[str]) -> int:
    """Parses the recipe's name and options, runs it, and writes its page."""
    if not arguments or arguments[0].startswith("-"):
        print(_usage())
        return 0 if arguments and arguments[0] in ("-h", "--help") else 2
    recipe = find_recipe(arguments[0])
    saved = saved_config(arguments, recipe.name)
    call = parse_run(
        options_of(recipe, arguments[1:], saved),
        arguments[1:],
        prog=f"backthrough run {recipe.name}",
        description=recipe.load_config().__doc__,
    )
    config, spread = settle_sources(call.config), call.spread
    _check(spread)

    import jax  # only now: wrong use has been refused

    here = (spread.devices or 1) // (spread.processes or 1)
    if here > 1:
        jax.config.update("jax_num_cpu_devices", here)  # of no effect on GPUs
    with _together(spread) as group:
        devices = spread.devices or (1 if spread.coordinator is None else jax.device_count())
        shards = spread.shards or saved.get("shards") or devices
        return carry_out(
            recipe.name,
            lambda run: recipe.load().run(config, run),
            place=call.place,
            config={"scale": call.scale, **dataclasses.asdict(config), "shards": shards},
            again=["backthrough", "run", recipe.name, *_words(spread)],
            shards=shards,
            devices=devices,
            is_first=group.is_first,
        )


def options_of(recipe: Recipe, arguments: Sequence[str] = (), saved: dict[str, Any] | None = None) -> type:
    """The options of a recipe, as a dataclass for tyro.

    Args:
        recipe: Its options follow those that all recipes have.
        arguments: The words behind its name; the defaults are those of the scale that they ask for.
        saved: What the run that is resumed was started with; it goes before the scale's defaults.
    """
    saved = saved or {}
    module = recipe.load_config()
    scale = find_option(arguments, "--scale") or saved.get("scale")
    if scale not in module.SCALES:
        scale = "quick"  # an unknown one is refused when the words are parsed
    help_of_scale = "Which defaults: quick (under a minute on two cores) or full (the paper's)."
    return dataclasses.make_dataclass(
        "Call",
        [
            ("place", tyro.conf.OmitArgPrefixes[Place], dataclasses.field(default=Place())),
            (
                "scale",
                Annotated[Literal["quick", "full"], tyro.conf.arg(help=help_of_scale)],
                dataclasses.field(default=scale),
            ),
            ("spread", tyro.conf.OmitArgPrefixes[Spread], dataclasses.field(default=Spread())),
            (
                "config",
                tyro.conf.OmitArgPrefixes[module.Config],
                dataclasses.field(default=with_saved(module.SCALES[scale], saved)),
            ),
        ],
    )


def _check(spread: Spread) -> None:
    for name in ("devices", "shards"):
        if getattr(spread, name) is not None:
            check_integer(name, getattr(spread, name), minimum=1)
    several = (spread.coordinator, spread.process, spread.processes)
    if any(value is not None for value in several) and None in several:
        raise ArgumentError("several processes need all of --coordinator, --process and --processes")


def _together(spread: Spread) -> contextlib.AbstractContextManager[Any]:
    """The processes of this run, once they have found each other."""
    from backthrough.train import Group, join

    if spread.coordinator is None or spread.process is None or spread.processes is None:
        return contextlib.nullcontext(Group())
    return join(
        spread.coordinator,
        process=spread.process,
        processes=spread.processes,
        timeout=spread.join_timeout,
    )


def _words(spread: Spread) -> list[str]:
    """The options that are not those by default, as words."""
    words = []
    for field in dataclasses.fields(spread):
        value = getattr(spread, field.name)
        if value != field.default:
            words += [f"--{field.name.replace('_', '-')}", str(value)]
    return words


def _usage() -> str:
    lines = [f"  {recipe.name:<22} {recipe.summary}" for recipe in RECIPES.values()]
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
