"""`backthrough tune MODULE:FUNCTION`."""

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import tyro

from backthrough.cli.problems import blaming_the_user, call_problem, needed_arguments
from backthrough.cli.runs import Place, carry_out, parse_run, saved_config
from backthrough.core import ArgumentError, check_choice, check_integer, check_positive
from backthrough.recipes.configs import with_saved

if TYPE_CHECKING:
    from backthrough.train import Run

RETURNS = "(train_loss, valid_loss, params, space), or with a third loss as the fifth"
EngineName = Literal[
    "centred", "elementwise", "implicit", "neumann", "unroll", "linear", "factorised", "global"
]


@dataclass(frozen=True)
class Config:
    """How it is tuned."""

    engine: EngineName = "centred"
    """centred, for up to a hundred hyperparameters and for what has no derivative (dropout); implicit, for
    hundreds and thousands; elementwise, for one a weight; unroll, for what acts through the last few steps;
    neumann, where the Hessian is not positive; linear, factorised and global are the paper's."""
    steps: int = 3000
    """Steps of training, the hyperparameters moving in each after the first tenth."""
    hyper_rate: float = 0.02
    """Learning rate of the hyperparameters, in factors of e, log-odds or quarters of their range."""
    learning_rate: float = 0.01
    """Learning rate of the weights."""
    scale: float = 0.3
    """How far around the hyperparameters a hypernetwork looks, in the same units."""
    refit: int = 2000
    """Steps of the refit that says whether to trust the result."""
    seed: int = 0
    """Determines all draws."""


@dataclass(frozen=True)
class Options:
    """Hyperparameters of your own training, tuned in one run, and whether to trust them.

    Takes a function without arguments that returns (train_loss, valid_loss, params, space), in a module of
    the current folder or an installed one; a fifth is a loss of the parameters on a third split. Into the run
    directory come hyperparameters.csv, history.csv, schedule.npz, and a page with the path, what a refit
    says, and its verdict.
    """

    problem: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="MODULE:FUNCTION")]] = ""
    """The function."""
    place: tyro.conf.OmitArgPrefixes[Place] = dataclasses.field(default=Place())
    config: tyro.conf.OmitArgPrefixes[Config] = dataclasses.field(default=Config())


def main(arguments: list[str]) -> int:
    """Tunes."""
    saved = saved_config(arguments, "tune")
    default = Options(saved.get("problem", ""), config=with_saved(Config(), saved))
    call = parse_run(Options, arguments, prog="backthrough tune", default=default)
    config = call.config
    check_choice("engine", config.engine, get_args(EngineName))
    check_integer("steps", config.steps, minimum=10)
    check_integer("refit", config.refit, minimum=10)
    check_integer("seed", config.seed, minimum=0)
    for name in ("hyper_rate", "learning_rate", "scale"):
        check_positive(name, getattr(config, name))
    if not call.problem:
        raise ArgumentError("tune needs MODULE:FUNCTION (all of it: --help)")
    problem = _problem_named(call.problem)
    return carry_out(
        "tune",
        lambda run: _tune(config, run, problem, call.problem),
        place=call.place,
        config={"problem": call.problem, **dataclasses.asdict(config)},
        again=["backthrough", "tune"],
    )


def _problem_named(name: str) -> tuple[Any, ...]:
    found = call_problem(name, RETURNS)
    if not (isinstance(found, tuple) and len(found) in (4, 5)):
        what = f"a tuple of {len(found)}" if isinstance(found, tuple) else type(found).__name__
        raise ArgumentError(f"{name} must return {RETURNS}; it returned {what}")
    if len(found) == 5 and not callable(found[4]):
        raise ArgumentError(
            f"the third loss of {name} must be a function of the parameters, got {found[4]!r}"
        )
    for own, loss, most in (("train_loss", found[0], 2), ("valid_loss", found[1], 1)):
        needed = [word for word in needed_arguments(loss) if word != "key"] if callable(loss) else []
        if len(needed) > most:
            raise ArgumentError(
                f"{own} of {name} takes {len(needed)} arguments, and the command gives {most}: "
                "batches are for backthrough.hyper.tune; let it close over its data"
            )
    return found


def _engine(config: Config) -> Any:
    from backthrough.hyper import (
        CentredLinear,
        Elementwise,
        Factorised,
        GlobalHypernet,
        Implicit,
        Linear,
        LocalHypernet,
        Neumann,
        Unroll,
    )

    rate = config.learning_rate
    return {
        "centred": lambda: LocalHypernet(CentredLinear(), rate),
        "linear": lambda: LocalHypernet(Linear(), rate),
        "factorised": lambda: LocalHypernet(Factorised(), rate),
        "elementwise": lambda: LocalHypernet(Elementwise(), rate, n_samples=4),
        "implicit": lambda: Implicit(learning_rate=rate),
        "neumann": lambda: Implicit(Neumann(), rate),
        "unroll": lambda: Unroll(5, rate),
        "global": lambda: GlobalHypernet(learning_rate=rate),
    }[config.engine]()


def _tune(config: Config, run: "Run", problem: tuple[Any, ...], name: str) -> None:
    import jax
    from matplotlib.figure import Figure

    from backthrough.hyper import best_response_gap, tune
    from backthrough.train import Headline, Number, ResultTable

    key, gap_key = jax.random.split(jax.random.key(config.seed))
    train_loss, valid_loss, params, space, *third = problem
    with blaming_the_user():
        found = tune(
            train_loss,
            valid_loss,
            params,
            space,
            engine=_engine(config),
            n_steps=config.steps,
            hyper_rate=config.hyper_rate,
            scale=config.scale,
            third_loss=third[0] if third else None,
            key=key,
            run=run,
        )
        gap = best_response_gap(found, key=gap_key, n_steps=config.refit, learning_rate=config.learning_rate)
    found.save(run.path)
    figure = Figure(figsize=(6.5, 3.6), layout="constrained")
    found.plot(figure.subplots())
    run.figures.save_plot("path", figure, caption=f"The path of the hyperparameters of {name}.")
    what = "where the run ends" if not third else "where the third loss was smallest"
    numbers = [
        Number("validation loss", found.valid_loss, "", what),
        Number("validation loss (refit)", float(gap.valid_refit[0]), "", f"{config.refit:,} steps more"),
        Number("training loss", found.train_loss, "", what),
        Number("training loss (refit)", float(gap.train_refit[0]), "", f"{config.refit:,} steps more"),
    ]
    if found.third_loss is not None:
        numbers.insert(0, Number("third loss", found.third_loss, "", what))
    rows = [(str(label), *(f"{value:.4g}" for value in row)) for label, *row in found.table().itertuples()]
    tables = [
        ResultTable("Hyperparameters", ("hyperparameter", *found.table().columns), tuple(rows)),
        ResultTable(
            "Before you trust it", ("note",), tuple((note,) for note in (gap.verdict(), *found.notes))
        ),
    ]
    n = found.tuner.problem.space.size
    first = float(found.history["valid loss"].dropna().iloc[0])
    several = "s" if n > 1 else ""
    sentence = (
        f"{n:,} hyperparameter{several} tuned in one run: validation loss {found.valid_loss:.4g}, "
        f"{first:.4g} at first. {gap.verdict().partition('.')[0]}."
    )
    run.save_result(numbers, headline=Headline(sentence, "validation loss", "path.svg"), tables=tables)
