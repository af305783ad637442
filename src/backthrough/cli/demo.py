"""`backthrough demo`: every recipe that has a demo panel, then one page."""

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path

import tyro

from backthrough.cli.numbers import print_numbers
from backthrough.cli.runs import fresh_directory, say_stopped
from backthrough.core import ArgumentError, Interrupted
from backthrough.recipes import RECIPES


@dataclass(frozen=True)
class Options:
    """Trains every method on small real data (minutes on two cores) and writes one HTML page."""

    run_dir: Path | None = None
    """Where the runs and the page go; a new folder under runs/ by default."""
    resume: bool = False
    """Go on with the demo in --run-dir."""


def main(arguments: list[str]) -> int:
    """Runs the demo."""
    options = tyro.cli(
        Options, args=arguments, prog="backthrough demo", config=(tyro.conf.FlagCreatePairsOff,)
    )
    if options.resume and options.run_dir is None:
        raise ArgumentError("--resume needs --run-dir DIR, the demo to go on with")
    from backthrough.report import write_page  # only now: wrong use has been refused
    from backthrough.train import Run, use_compile_cache

    folder = options.run_dir or fresh_directory("demo")
    use_compile_cache()
    started = time.monotonic()
    paths = []
    for recipe in RECIPES.values():
        panel = recipe.load_config().DEMO
        if panel is None:
            continue
        print(f"{recipe.name}: {recipe.summary}", flush=True)
        config = {"recipe": recipe.name, **dataclasses.asdict(panel)}
        run = Run(folder / recipe.name, config=config, resume=options.resume)
        try:
            recipe.load().run(panel, run)
        except (Interrupted, KeyboardInterrupt) as error:
            return say_stopped(error, ["backthrough", "demo", "--run-dir", str(folder)])
        paths.append(run.path)
        print_numbers(run.path)
    page = write_page(paths, folder / "index.html", title="backthrough demo")
    print(f"\ndone in {time.monotonic() - started:.0f} s. Open {page.resolve()}")
    return 0
