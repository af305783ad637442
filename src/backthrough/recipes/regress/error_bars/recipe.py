"""Error bars where there are no data, and how often intervals hold what they promise."""

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from backthrough.core import ArgumentError, check_choice, check_integer
from backthrough.datasets import load
from backthrough.recipes.regress.error_bars.config import METHODS, Config
from backthrough.regress import BayesianRegressor, Calibration, calibration
from backthrough.train import Headline, Number, Run, mean_number

NOISE, INNER, REACH = 3.0, 4.0, 6.0
LEVEL = 0.9
COVERAGE = "coverage of 90 % intervals"
INSIDE, OUTSIDE = "where points are", "beyond them"


def run(config: Config, run: Run) -> None:
    """Fits a curve by each method and draws its bands, then measures the intervals of a table."""
    for name in ("n_points", "curve_epochs", "table_epochs"):
        check_integer(name, getattr(config, name), minimum=1)
    check_integer("seed", config.seed, minimum=0)
    if not config.methods:
        raise ArgumentError("methods needs at least one name")
    for name in config.methods:
        check_choice("method", name, METHODS)
    x, y = points(config)
    grid = np.linspace(-REACH, REACH, 241)
    bands = {}
    for name in config.methods:
        model = BayesianRegressor(
            name,
            n_epochs=config.curve_epochs,
            batch_size=10,
            learning_rate=config.curve_learning_rate,
            random_state=config.seed,
        ).fit(x[:, None], y)
        bands[name] = model.predictive(grid[:, None])
    numbers = [
        Number(
            f"standard deviation of the curve {place} ({name})",
            float(np.mean(p.epistemic_std[rows(place, grid)])),
            "",
            "mean over the grid, without the noise of a point",
        )
        for name, p in bands.items()
        for place in (INSIDE, OUTSIDE)
    ]
    draw_bands(run, x, y, grid, bands)
    held = None
    if config.data:
        held = hold_table(config, run)
        numbers += table_numbers(config, held)
    run.save_result(numbers, headline=headline(config, numbers))


def points(config: Config) -> tuple[Float[np.ndarray, "row"], Float[np.ndarray, "row"]]:
    """Points of a cube with noise, as Hernandez-Lobato and Adams 2015 draw them."""
    generator = np.random.default_rng(config.seed)
    x = generator.uniform(-INNER, INNER, config.n_points)
    return x, x**3 + NOISE * generator.normal(size=len(x))


def rows(place: str, grid: Float[np.ndarray, "grid"]) -> np.ndarray:
    """Which points of the grid are there."""
    return np.abs(grid) <= INNER if place == INSIDE else np.abs(grid) > INNER


def hold_table(config: Config, run: Run) -> Calibration:
    """Fits a table's first standard split and measures its intervals on the test rows."""
    table = load(config.data)
    train, test = table.train_index[0], table.test_index[0]
    model = BayesianRegressor(config.methods[0], n_epochs=config.table_epochs, random_state=config.seed)
    model.fit(table.x[train], table.y[train], run=run)
    held = calibration(model.predictive(table.x[test]), table.y[test])
    figure = Figure(figsize=(4.5, 4), layout="constrained")
    held.plot(figure.subplots())
    caption = (
        f"{config.data}, {len(test)} test rows: how often intervals hold their target, against how often "
        "they say so."
    )
    run.figures.save_plot("calibration", figure, caption=caption)
    return held


def table_numbers(config: Config, held: Calibration) -> list[Number]:
    """How often the intervals of the table hold, and how far predictions are off."""
    what = f"{config.data}, {config.methods[0]}, test rows of the first standard split"
    place = int(np.argmin(np.abs(held.levels - LEVEL)))
    coverage = Number(
        COVERAGE, float(held.coverage[place]), "", what, float(held.standard_error[place]), held.n_rows
    )
    return [
        coverage,
        Number("RMSE", held.rmse, "", f"{what}, in the units of the table"),
        mean_number("CRPS", held.crps, "", f"{what}, in the units of the table"),
        mean_number("log-likelihood", held.log_prob, "nats", what),
    ]


def headline(config: Config, numbers: list[Number]) -> Headline:
    """How much surer the first method is where there are points."""
    found = {number.name: number.value for number in numbers}
    first = config.methods[0]
    name = f"standard deviation of the curve {INSIDE} ({first})"
    inside, outside = (
        found[f"standard deviation of the curve {place} ({first})"] for place in (INSIDE, OUTSIDE)
    )
    sentence = f"Where there are points {first} knows the curve to {inside:.0f}, beyond them to {outside:.0f}"
    coverage = found.get(COVERAGE)
    if coverage is not None:
        sentence += f"; on {config.data} its 90 % intervals hold {100 * coverage:.0f} % of the test rows"
    return Headline(f"{sentence}.", name, "bands.svg")


def draw_bands(
    run: Run,
    x: Float[np.ndarray, "row"],
    y: Float[np.ndarray, "row"],
    grid: Float[np.ndarray, "grid"],
    bands: dict,
) -> None:
    """A panel for each method: mean, what the curve may be, what a new point may be."""
    figure = Figure(figsize=(1 + 3.2 * len(bands), 3.4), layout="constrained")
    panels = figure.subplots(1, len(bands), sharey=True, squeeze=False)[0]
    for axes, (name, p) in zip(panels, bands.items(), strict=True):
        for width, alpha, label in ((p.std, 0.2, "a new point"), (p.epistemic_std, 0.35, "the curve")):
            axes.fill_between(
                grid,
                p.mean - 2 * width,
                p.mean + 2 * width,
                color="C0",
                alpha=alpha,
                linewidth=0,
                label=label,
            )
        axes.plot(grid, p.mean, color="C0", linewidth=1.2)
        axes.plot(grid, grid**3, color="0.5", linewidth=0.8, linestyle="--")
        axes.plot(x, y, ".", color="0.3", markersize=3)
        axes.set_ylim(-180, 180)
        axes.set_title(name)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    caption = (
        "Points (dots) of a curve (dashed): its mean under the weights' posterior, and two standard "
        "deviations of the curve and of a new point."
    )
    run.figures.save_plot("bands", figure, caption=caption)
