"""`backthrough demo`: every recipe that has a demo panel, then one page."""

import dataclasses
import time
from dataclasses import dataclass

import tyro

from backthrough.cli.runs import Place, fresh_directory, parse_run, say_stopped
from backthrough.core import Interrupted, check_choice
from backthrough.recipes import RECIPES

INTRODUCTION = (
    "Gradients and inference carried through what backpropagation stops at. Each card is a method, "
    "trained just now on small real data on this machine; below is what each run wrote."
)


@dataclass(frozen=True)
class Options:
    """Trains every method on small real data (minutes on two cores) and writes one HTML page."""

    place: tyro.conf.OmitArgPrefixes[Place] = dataclasses.field(default=Place())
    only: tuple[str, ...] = ()
    """Rooms (such as ode, latent) or recipes; all of them when none is named."""


def main(arguments: list[str]) -> int:
    """Runs the demo."""
    options = parse_run(Options, arguments, prog="backthrough demo")
    panels = {name: recipe.load_config().DEMO for name, recipe in RECIPES.items()}
    panels = {name: panel for name, panel in panels.items() if panel is not None}
    known = dict.fromkeys([*(RECIPES[name].room for name in panels), *panels])
    for name in options.only:
        check_choice("room or recipe with a demo panel", name, known)

    from backthrough.cli.numbers import print_numbers  # only now: wrong use has been refused
    from backthrough.report import About, write_page
    from backthrough.train import Run, plot_style, use_compile_cache

    folder = options.place.run_dir or fresh_directory("demo")
    use_compile_cache()
    started = time.monotonic()
    paths, about = [], {}
    for name, panel in panels.items():
        recipe = RECIPES[name]
        if options.only and not {name, recipe.room} & set(options.only):
            continue
        print(f"\n{panel.method} ({name})", flush=True)
        began = time.monotonic()
        config = {"recipe": name, **dataclasses.asdict(panel.config)}
        run = Run(folder / name, config=config, resume=options.place.resume)
        try:
            with plot_style():
                recipe.load().run(panel.config, run)
        except (Interrupted, KeyboardInterrupt) as error:
            words = ["backthrough", "demo", "--run-dir", str(folder)]
            return say_stopped(error, [*words, *(["--only", *options.only] if options.only else [])])
        paths.append(run.path)
        about[name] = About(panel.method, panel.what)
        print_numbers(run.path, only_headline=True)
        print(f"{time.monotonic() - began:.0f} s", flush=True)
    title = "backthrough: what each method does"
    page = write_page(paths, folder / "index.html", title=title, introduction=INTRODUCTION, about=about)
    print(f"\ndone in {time.monotonic() - started:.0f} s. Open {page.resolve()}")
    return 0
