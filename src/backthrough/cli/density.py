"""`backthrough density TABLE.csv`."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from backthrough.cli.runs import Place, carry_out, find_option, parse_run, saved_config
from backthrough.cli.tables import NewRows, existing_table
from backthrough.core import DataError, check_integer
from backthrough.recipes.configs import with_saved

if TYPE_CHECKING:
    import pandas as pd

    from backthrough.density import FlowDensity
    from backthrough.train import Run

STEPS = {"quick": 500, "full": 2000}


@dataclass(frozen=True)
class Config:
    """How the density is fitted."""

    columns: tuple[str, ...] = ()
    """The columns to model; all of them when none is named."""
    hidden_size: int = 64
    """Width of the three hidden layers of the vector field."""
    n_steps: int = STEPS["quick"]
    """At most so many steps of Adam."""
    batch_size: int = 256
    """Rows in a batch, at most."""
    learning_rate: float = 3e-3
    """The largest; it falls along half a cosine."""
    patience: int = 8
    """Evaluations on the validation rows without a better one after which training stops."""
    solver_steps: int = 5
    """Runge-Kutta steps of the solve in training; rows are measured by an adaptive one."""
    tolerance: float = 1e-4
    """Of the adaptive solver that measures."""
    n_draws: int = 1000
    """Draws from the density to write down."""
    seed: int = 0
    """Determines split, weights, order and draws."""


@dataclass(frozen=True)
class Options:
    """Fits a continuous normalising flow to the rows of a table of numbers.

    Into the run directory come the held-out log-likelihood beside a Gaussian's, rows.csv with the
    log-density of every row (the lowest are the strangest), draws.csv, model.npz, and a page with pictures.
    """

    table: tyro.conf.Positional[Annotated[Path | None, tyro.conf.arg(metavar="TABLE.csv")]] = None
    """A CSV file with a header line and numbers in every cell."""
    place: tyro.conf.OmitArgPrefixes[Place] = dataclasses.field(default=Place())
    new: tyro.conf.OmitArgPrefixes[NewRows] = dataclasses.field(default=NewRows())
    scale: Literal["quick", "full"] = "quick"
    """At most 500 steps (a minute), or 2,000."""
    config: tyro.conf.OmitArgPrefixes[Config] = dataclasses.field(default=Config())


def main(arguments: list[str]) -> int:
    """Fits to a table, or scores rows with a model that is there."""
    saved = saved_config(arguments, "density")
    scale = find_option(arguments, "--scale") or saved.get("scale", "quick")
    defaults = dataclasses.replace(Config(), n_steps=STEPS.get(scale, STEPS["quick"]))
    call = parse_run(
        Options, arguments, prog="backthrough density", default=Options(config=with_saved(defaults, saved))
    )
    if call.new.is_asked_for:
        return _score_new_rows(call)
    path = existing_table(call.table, saved, "density")
    check_integer("n_draws", call.config.n_draws, minimum=1)
    check_integer("seed", call.config.seed, minimum=0)
    table = _read(path, call.config.columns)
    return carry_out(
        "density",
        lambda run: _fit(call.config, run, table, path),
        place=call.place,
        config={"data": str(path), "scale": call.scale, **dataclasses.asdict(call.config)},
        again=["backthrough", "density"],
    )


def _read(path: Path, columns: Any) -> "pd.DataFrame":
    import pandas as pd

    from backthrough.datasets import read_columns

    names, rows = read_columns(path, columns=columns)
    return pd.DataFrame(rows, columns=list(names))


def _fit(config: Config, run: "Run", table: "pd.DataFrame", path: Path) -> None:
    from backthrough.density import FlowDensity, compare_with_gaussian, headline, plot_columns, split_rows
    from backthrough.train import Number, mean_number

    model = FlowDensity(
        hidden_size=config.hidden_size,
        n_steps=config.n_steps,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        patience=config.patience,
        solver_steps=config.solver_steps,
        tolerance=config.tolerance,
        random_state=config.seed,
    )
    try:
        parts = split_rows(table, seed=config.seed)
        model.fit(parts.train, validation=parts.valid, run=run)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    model.save(run.path / "model.npz")
    scores = model.score_samples(parts.test).to_numpy()
    numbers = compare_with_gaussian(parts.train.to_numpy(), parts.test.to_numpy(), scores)
    head = headline(numbers, picture="columns.svg")
    what = "mean size of what its fixed steps are off by; where it is not small, raise solver_steps"
    error = model.solver_error(parts.test)
    numbers.append(mean_number("error of the training's solver", error, "nats", what))
    numbers.append(Number("rows to train on", float(len(parts.train)), "", "the rest validates and tests"))
    _scored(model, table).to_csv(run.path / "rows.csv", index=False)
    draws = model.sample(config.n_draws)
    draws.to_csv(run.path / "draws.csv", index=False)
    caption = "Rows of the table (grey, below the diagonal) and draws from the density (colour, above it)."
    if len(table.columns) > 4:
        caption += f" The first 4 of {len(table.columns)} columns."
    run.figures.save_plot("columns", plot_columns(table, draws), caption=caption)
    run.save_result(numbers, headline=head)


def _score_new_rows(call: Options) -> int:
    model_path, path, out = call.new.paths("density", call.table)

    from backthrough.density import FlowDensity

    model = FlowDensity.load(model_path)
    table = _read(path, list(model.feature_names_in_))
    _scored(model, table).to_csv(out, index=False)
    print(f"{len(table):,} rows scored: {out}")
    return 0


def _scored(model: "FlowDensity", table: "pd.DataFrame") -> "pd.DataFrame":
    """The table with the log-density of every row."""
    scores = model.score_samples(table)
    return table.assign(**{scores.name: scores})
