"""`backthrough forecast SERIES.csv`."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from backthrough.cli.runs import Place, carry_out, find_option, parse_run, saved_config
from backthrough.cli.tables import NewRows, existing_table
from backthrough.core import ArgumentError, check_integer
from backthrough.recipes.configs import with_saved

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from backthrough.datasets import SeriesTable
    from backthrough.forecast import Bands, Window
    from backthrough.train import Run

STEPS = {"quick": 500, "full": 1500}


@dataclass(frozen=True)
class Config:
    """What is forecast, and how it is learned."""

    time: str = ""
    """The column of times: numbers or ISO dates."""
    columns: tuple[str, ...] = ()
    """The columns to forecast; all others when none is named."""
    series: str = ""
    """The column that names the series of each row, if there are several."""
    horizon: int = 0
    """Rows held out, and forecast beyond the end; 0 for a tenth of the shortest series, at most 50."""
    context: int = 0
    """Rows that a forecast sees; three horizons for 0, or what there is."""
    n_steps: int = STEPS["quick"]
    """Steps of Adam."""
    batch_size: int = 32
    """Windows in a batch, at most."""
    learning_rate: float = 5e-3
    """The largest; it falls along half a cosine."""
    latent_size: int = 16
    """Latent dimensions."""
    hidden_size: int = 32
    """Width of vector field, decoder and encoder."""
    tolerance: float = 1e-3
    """Of the solver."""
    n_draws: int = 200
    """Draws behind the bands."""
    seed: int = 0
    """Determines weights, order and draws."""


@dataclass(frozen=True)
class Options:
    """Fits a latent ODE to irregular series with gaps, and continues them.

    Times are numbers or ISO dates, cells may be blank, and --series names the column that tells several
    series apart. The last rows of each are held out. Into the run directory come the held-out error beside
    naive forecasts, forecast.csv with means and bands of the held-out rows and of what comes after the end,
    model.npz, and a page with a picture.
    """

    table: tyro.conf.Positional[Annotated[Path | None, tyro.conf.arg(metavar="SERIES.csv")]] = None
    """A CSV file with a header line."""
    place: tyro.conf.OmitArgPrefixes[Place] = dataclasses.field(default=Place())
    new: tyro.conf.OmitArgPrefixes[NewRows] = dataclasses.field(default=NewRows())
    scale: Literal["quick", "full"] = "quick"
    """500 steps of training (a minute or two), or 1,500."""
    config: tyro.conf.OmitArgPrefixes[Config] = dataclasses.field(default=Config())


def main(arguments: list[str]) -> int:
    """Fits to a table, or continues other series with a model that is there."""
    saved = saved_config(arguments, "forecast")
    scale = find_option(arguments, "--scale") or saved.get("scale", "quick")
    defaults = dataclasses.replace(Config(), n_steps=STEPS.get(scale, STEPS["quick"]))
    call = parse_run(
        Options, arguments, prog="backthrough forecast", default=Options(config=with_saved(defaults, saved))
    )
    if call.new.is_asked_for:
        return _continue_new_series(call)
    config = call.config
    path = existing_table(call.table, saved, "forecast")
    if not config.time:
        raise ArgumentError("forecast needs the column of times: --time NAME")
    for name in ("n_draws", "n_steps", "batch_size"):
        check_integer(name, getattr(config, name), minimum=1)
    for name in ("seed", "horizon", "context"):
        check_integer(name, getattr(config, name), minimum=0)

    from backthrough.datasets import read_series

    table = read_series(path, time=config.time, columns=config.columns, series=config.series)
    return carry_out(
        "forecast",
        lambda run: _fit(config, run, table),
        place=call.place,
        config={"data": str(path), "scale": call.scale, **dataclasses.asdict(config)},
        again=["backthrough", "forecast"],
    )


def _fit(config: Config, run: "Run", table: "SeriesTable") -> None:
    import pandas as pd

    from backthrough.forecast import Forecaster, before_the_last, choose_sizes
    from backthrough.train import Number

    context, horizon = choose_sizes(table, config.context, config.horizon, held_out=True)
    model = Forecaster(
        horizon=horizon,
        context=context,
        n_steps=config.n_steps,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        latent_size=config.latent_size,
        hidden_size=config.hidden_size,
        tolerance=config.tolerance,
        n_draws=config.n_draws,
        random_state=config.seed,
    )
    model.fit(before_the_last(table, horizon), run=run)
    held = model.evaluate(table)
    model.table_ = table  # what the saved model goes on from: the end of the whole table
    model.save(run.path / "model.npz")
    windows, bands, _ = model.forecast(table=table)
    numbers = held.numbers()
    what = f"trained on; {context} rows of context"
    numbers.append(Number("windows", float(model.n_windows_), "", what))
    lines = [
        *_lines("held out", table, held.windows, held.bands, context),
        *_lines("ahead", table, windows, bands, context),
    ]
    pd.concat(lines).to_csv(run.path / "forecast.csv", index=False)
    caption = "The end of the series, the forecast of the rows held out, and beyond; bands hold 80 %."
    more = len(table.ids) * len(table.names) - 4
    caption += f" {more} more are in forecast.csv." if more > 0 else ""
    run.figures.save_plot("forecast", held.plot((windows, bands)), caption=caption)
    run.save_result(numbers, headline=held.headline(picture="forecast.svg"))


def _lines(
    kind: str, table: "SeriesTable", windows: "Sequence[Window]", bands: "Bands", context: int
) -> "list[pd.DataFrame]":
    """A line for each series, time and column."""
    import pandas as pd

    from backthrough.forecast import shown_times

    return [
        pd.DataFrame(
            {
                "series": name,
                "time": shown_times(window.times[context:], table),
                "column": column,
                "kind": kind,
                "observed": window.values[context:, channel],
                "forecast": bands.mean[index, :, channel],
                "low": bands.low[index, :, channel],
                "high": bands.high[index, :, channel],
            }
        )
        for index, (name, window) in enumerate(zip(table.ids, windows, strict=True))
        for channel, column in enumerate(table.names)
    ]


def _continue_new_series(call: Options) -> int:
    model_path, path, out = call.new.paths("forecast", call.table)

    import pandas as pd

    from backthrough.datasets import read_series
    from backthrough.forecast import Forecaster

    model = Forecaster.load(model_path)
    known = model.table_
    table = read_series(path, time=known.time, columns=known.names, series=known.series)
    windows, bands, _ = model.forecast(call.config.horizon or None, table)
    lines = _lines("ahead", table, windows, bands, model.context_)
    pd.concat(lines).drop(columns=["kind", "observed"]).to_csv(out, index=False)
    print(f"{len(table.ids):,} series continued by {bands.mean.shape[1]} rows: {out}")
    return 0
