"""`backthrough gaps RUN` or `backthrough gaps MODULE:FUNCTION`."""

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from backthrough.cli.problems import blaming_the_user, call_problem
from backthrough.cli.runs import Place, carry_out, parse_run, saved_config
from backthrough.core import ArgumentError, check_integer
from backthrough.recipes import RECIPES
from backthrough.recipes.configs import with_saved

if TYPE_CHECKING:
    from backthrough.train import Run

RETURNS = "(model, encoder, x)"


@dataclass(frozen=True)
class Config:
    """What is measured, and how closely."""

    n_examples: int = 100
    """Examples, drawn at random from those there are."""
    n_samples: int = 5000
    """Draws of each ELBO, and weights of the importance sampling."""
    n_steps: int = 800
    """Steps in which the best posterior of each example is found."""
    temperatures: int = 60
    """Temperatures of the annealing."""
    n_chains: int = 8
    """Annealed chains an example."""
    start: Literal["posterior", "prior"] = "posterior"
    """Where they start; from the prior many more temperatures are needed."""
    at_once: int = 100
    """Examples at once: fewer need less memory, and lose less when stopped."""
    seed: int = 0
    """Determines which examples and all draws."""


@dataclass(frozen=True)
class Options:
    """Is the encoder the problem, or the family of its posteriors? The three inference gaps of a VAE.

    Takes a finished run of vae-mnist, or your own model: a function without arguments that returns (model,
    encoder, x), in a module of the current folder or an installed one. Into the run directory come the gaps
    with their errors, gaps.csv with a row for each example, and a page with a picture.
    """

    source: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="RUN|MODULE:FUNCTION")]] = ""
    """Directory of a finished run, or MODULE:FUNCTION."""
    place: tyro.conf.OmitArgPrefixes[Place] = dataclasses.field(default=Place())
    config: tyro.conf.OmitArgPrefixes[Config] = dataclasses.field(default=Config())


def main(arguments: list[str]) -> int:
    """Measures the gaps."""
    saved = saved_config(arguments, "gaps")
    default = Options(saved.get("source", ""), config=with_saved(Config(), saved))
    call = parse_run(Options, arguments, prog="backthrough gaps", default=default)
    config = call.config
    for name in ("n_examples", "n_chains", "temperatures", "at_once"):
        check_integer(name, getattr(config, name), minimum=1)
    check_integer("n_samples", config.n_samples, minimum=2)
    check_integer("n_steps", config.n_steps, minimum=20)
    check_integer("seed", config.seed, minimum=0)
    if not call.source:
        raise ArgumentError("gaps needs a finished run or MODULE:FUNCTION (all of it: --help)")
    is_run = ":" not in call.source or Path(call.source).exists()
    source = str(Path(call.source).expanduser().absolute()) if is_run else call.source
    problem = _of_run(Path(source)) if is_run else _of_module(source)
    return carry_out(
        "gaps",
        lambda run: _measure(config, run, *problem),
        place=call.place,
        config={"source": source, **dataclasses.asdict(config)},
        again=["backthrough", "gaps"],
    )


def _of_run(path: Path) -> tuple[Any, Any, Any, str]:
    """Model, encoder, data and what they are, of a finished run."""
    from backthrough.train import read_config

    if not path.is_dir():
        raise ArgumentError(f"there is no run {str(path)!r}; a problem of your own is MODULE:FUNCTION")
    name = read_config(path).get("recipe")
    load = getattr(RECIPES[name].load(), "trained_problem", None) if name in RECIPES else None
    if load is None:
        raise ArgumentError(f"gaps reads runs of vae-mnist, and {path} is one of {name}")
    return load(path)


def _of_module(name: str) -> tuple[Any, Any, Any, str]:
    """The same of the user's function."""
    found = call_problem(name, RETURNS)
    if not (isinstance(found, tuple) and len(found) == 3):
        what = f"a tuple of {len(found)}" if isinstance(found, tuple) else type(found).__name__
        raise ArgumentError(f"{name} must return {RETURNS}, it returned {what}")
    model, encoder, x = found
    for own in ("log_prior", "log_likelihood", "sample_prior"):
        if not hasattr(model, own):
            raise ArgumentError(f"the model of {name} needs {own}, and {type(model).__name__} has none")
    if not callable(encoder):
        raise ArgumentError(f"the encoder of {name} must map one example to its posterior, got {encoder!r}")
    return model, encoder, x, f"from {name}"


def _measure(config: Config, run: "Run", model: Any, encoder: Any, x: Any, words: str) -> None:
    import jax
    import numpy as np
    from matplotlib.figure import Figure

    from backthrough.latent import Annealing, Optimisation, inference_gaps
    from backthrough.train import Headline, n_examples

    x = jax.tree_util.tree_map(np.asarray, x)
    n = n_examples("x", x)
    if config.n_examples > n:
        print(f"backthrough: there are {n:,} examples, and all are taken", file=sys.stderr)
    chosen = np.sort(np.random.default_rng(config.seed).permutation(n)[: config.n_examples])
    with blaming_the_user():
        report = inference_gaps(
            model,
            encoder,
            jax.tree_util.tree_map(lambda leaf: leaf[chosen], x),
            key=jax.random.key(config.seed),
            n_samples=config.n_samples,
            optimisation=Optimisation(config.n_steps),
            annealing=Annealing(config.temperatures, config.n_chains, start=config.start),
            data=words,
            at_once=config.at_once,
            keep=run.path / "chunks",
        )
    rows = report.table()
    rows.insert(0, "row", chosen)
    rows.to_csv(run.path / "gaps.csv", index=False)
    figure = Figure(figsize=(5.5, 4), layout="constrained")
    report.plot(figure.subplots())
    caption = f"Mean gaps of {len(chosen):,} examples ({words}), with standard errors."
    run.figures.save_plot("gaps", figure, caption=caption)
    run.save_result(report.numbers(), headline=Headline(report.sentence(), "inference gap", "gaps.svg"))
