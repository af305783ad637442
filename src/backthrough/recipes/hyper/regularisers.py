"""Tunes regularisers of a linear model, and judges them by an exact refit beside the best single one."""

from dataclasses import asdict
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from backthrough.core import check_choice, check_integer, check_positive
from backthrough.hyper import (
    BestResponseGap,
    CentredLinear,
    Comparison,
    Elementwise,
    Engine,
    Factorised,
    HyperSpace,
    Implicit,
    Linear,
    LocalHypernet,
    RandomSearch,
    Real,
    TuneResult,
    Unroll,
    best_response_gap,
    compare,
    tune,
)
from backthrough.recipes.hyper.published import PUBLISHED
from backthrough.recipes.hyper.ridge import Ridge, digits, mnist
from backthrough.recipes.hyper.settings import ENGINES, Settings
from backthrough.train import Headline, Number, ResultTable, Run, mean_number

LOW, HIGH = 1e-8, 100.0


class Tuned(NamedTuple):
    """One run of an engine.

    Attributes:
        found: What `tune` gave.
        gap: How far its response is from a refit.
        valid: Mean squared error of an exact refit with its hyperparameters.
        test: The same on the test pictures.
        accuracy: Of that refit on the test pictures.
    """

    found: TuneResult
    gap: BestResponseGap
    valid: float
    test: float
    accuracy: float


def run(config: Settings, run: Run) -> None:
    """Tunes with each engine, refits, and compares with the best single regulariser."""
    check_choice("per", config.per, ("output", "weight"))
    for name in config.engines:
        check_choice("engine", name, ENGINES)
    for name in ("n_steps", "n_seeds", "n_train", "n_valid"):
        check_integer(name, getattr(config, name), minimum=1)
    check_integer("seed", config.seed, minimum=0)
    check_positive("start", config.start)
    check_positive("hyper_rate", config.hyper_rate)
    if config.equal_seconds is not None:
        check_positive("equal_seconds", config.equal_seconds)
    ridge = load(config)
    single = best_single(ridge)
    runs = {
        name: [one(name, config, run, ridge, number) for number in range(config.n_seeds)]
        for name in config.engines
    }
    numbers = numbers_of(config, single, runs)
    draw(config, run, ridge, runs)
    tables = [table(single, runs), notes(config, runs)]
    if config.equal_seconds is not None:
        found = in_equal_time(config, ridge, config.equal_seconds)
        draw_equal_time(found, run)
        tables.insert(1, equal_time_table(found))
    run.save_result(numbers, headline=headline(single, runs), tables=tables)


def load(config: Settings) -> Ridge:
    """The data of the configuration."""
    if config.data == "digits":
        return digits(config.n_train)
    return mnist(config.n_train, name=config.data, n_valid=config.n_valid)


def engine_named(name: str) -> Engine:
    """The engine, with the settings that every recipe here has."""
    return {
        "centred": LocalHypernet(CentredLinear()),
        "linear": LocalHypernet(Linear()),
        "elementwise": LocalHypernet(Elementwise(), n_samples=4),
        "factorised": LocalHypernet(Factorised()),
        "implicit": Implicit(),
        "unroll": Unroll(5),
    }[name]


def space(config: Settings) -> HyperSpace:
    """The regularisers of the configuration."""
    return HyperSpace(decay=Real(LOW, HIGH, log=True, per=config.per, output_axis=1, initial=config.start))


def one(name: str, config: Settings, run: Run, ridge: Ridge, number: int) -> Tuned:
    """A run in a folder of its own, so that it can be gone on with."""
    key = jax.random.fold_in(jax.random.key(config.seed), number)
    own_run = Run(
        run.path / f"{name}-{number}", config={**asdict(config), "engine": name}, resume=run.is_resumed
    )
    found = tune(
        ridge.train_loss,
        ridge.valid.loss,
        ridge.initial(),
        space(config),
        engine=engine_named(name),
        n_steps=config.n_steps,
        hyper_rate=config.hyper_rate,
        key=key,
        run=own_run,
        label=f"{name}, run {number + 1} of {config.n_seeds}",
    )
    w = ridge.refit(found.hyper["decay"])
    gap = best_response_gap(found, key=key, n_steps=500)
    return Tuned(found, gap, ridge.valid.measured(w), ridge.test.measured(w), ridge.test.accuracy(w))


class Single(NamedTuple):
    """The best single regulariser, on a grid with exact refits."""

    decay: float
    valid: float
    test: float
    accuracy: float


def best_single(ridge: Ridge) -> Single:
    """By the validation pictures, from e^-12 to e, in steps of a tenth."""
    x, y = ridge.train.x.astype(np.float64), ridge.train.y.astype(np.float64)
    values, vectors = np.linalg.eigh(x.T @ x / y.size)
    moment = vectors.T @ (x.T @ y / y.size)
    grid = np.exp(np.arange(-12, 1.05, 0.1))
    weights = [vectors @ (moment / (np.maximum(values, 0)[:, None] + decay)) for decay in grid]
    losses = [ridge.valid.measured(w) for w in weights]
    best = int(np.argmin(losses))
    w = weights[best]
    return Single(float(grid[best]), losses[best], ridge.test.measured(w), ridge.test.accuracy(w))


def numbers_of(config: Settings, single: Single, runs: dict[str, list[Tuned]]) -> list[Number]:
    """Errors and accuracy of each engine, and of the best single regulariser."""
    refit = f"{config.data}, exact refit with {config.n_train} pictures"
    numbers = [
        Number("test MSE (best single)", single.test, "", refit),
        Number("test accuracy (best single)", single.accuracy, "", refit),
    ]
    for name, own in runs.items():
        for field, what in (("valid", "validation MSE"), ("test", "test MSE"), ("accuracy", "test accuracy")):
            values = np.array([getattr(each, field) for each in own])
            if len(values) > 1:
                numbers.append(mean_number(f"{what} ({name})", values, "", refit))
            else:
                numbers.append(Number(f"{what} ({name})", float(values[0]), "", refit))
    return numbers


def headline(single: Single, runs: dict[str, list[Tuned]]) -> Headline:
    """Whether many regularisers are better than the best single one."""
    name, own = min(runs.items(), key=lambda item: np.mean([each.valid for each in item[1]]))
    test, accuracy = (np.mean([getattr(each, field) for each in own]) for field in ("test", "accuracy"))
    n = own[0].found.tuner.problem.space.size
    better = "better" if test < single.test else "no better"
    sentence = (
        f"{n:,} regularisers tuned in one training run ({name}): test MSE {test:.4f}, accuracy "
        f"{accuracy:.1%}; the best single one has {single.test:.4f} and {single.accuracy:.1%} ({better}). "
        f"{own[0].gap.verdict().partition('.')[0]}."
    )
    return Headline(sentence, f"test MSE ({name})", "regularisers.svg")


def table(single: Single, runs: dict[str, list[Tuned]]) -> ResultTable:
    """A row for each run."""
    head = ("regularisers", "valid MSE", "test MSE", "accuracy", "a refit says")
    best = f"{single.valid:.4f}", f"{single.test:.4f}", f"{single.accuracy:.1%}"
    rows = [("the best single one", *best, "")]
    for name, own in runs.items():
        for each in own:
            rows.append(
                (name, f"{each.valid:.4f}", f"{each.test:.4f}", f"{each.accuracy:.1%}", each.gap.verdict())
            )
    return ResultTable("Judged by an exact refit", head, tuple(rows))


def notes(config: Settings, runs: dict[str, list[Tuned]]) -> ResultTable:
    """What to know before trusting it, and what the paper has."""
    said = [(name, note) for name, own in runs.items() for note in own[0].found.notes]
    return ResultTable("Before you trust it", ("of", "note"), (*said, ("the paper", PUBLISHED[config.per])))


def draw(config: Settings, run: Run, ridge: Ridge, runs: dict[str, list[Tuned]]) -> None:
    """The path of the regularisers, and where they are large."""
    name, own = min(runs.items(), key=lambda item: np.mean([each.valid for each in item[1]]))
    found = own[0].found
    if config.per == "weight":
        figure = Figure(figsize=(7.5, 5), layout="constrained")
        top, below = np.asarray(figure.subfigures(2, 1, height_ratios=(1.3, 1)))
        found.plot(top.subplots())
        maps = pictures(found, ridge)
        low, high = np.quantile(maps, [0.02, 0.98])
        panels = np.asarray(below.subplots(1, len(maps)))
        for digit, axes in enumerate(panels):
            axes.imshow(maps[digit], cmap="viridis", vmin=low, vmax=high)
            axes.set_title(str(digit))
            axes.set_axis_off()
        bar = below.colorbar(
            panels[0].images[0], ax=list(panels), orientation="horizontal", shrink=0.5, aspect=40
        )
        bar.set_label("log10 of the regulariser")
        caption = "Below: which pixels each class has to do without. Yellow: a weight that is kept near 0."
    else:
        figure = Figure(figsize=(6.5, 3.4), layout="constrained")
        found.plot(figure.subplots())
        caption = "Each line is the regulariser of a class."
    run.figures.save_plot("regularisers", figure, caption=f"{config.data}, {name}, the first run. {caption}")


def in_equal_time(config: Settings, ridge: Ridge, seconds: float) -> Comparison:
    """The engines and random search, each for the same seconds."""
    return compare(
        ridge.train_loss,
        ridge.valid.loss,
        ridge.initial(),
        space(config),
        strategies={
            **{name: engine_named(name) for name in config.engines},
            "random search": RandomSearch(),
        },
        seconds=seconds,
        key=jax.random.key(config.seed),
        test_loss=ridge.test.loss,
        hyper_rate=config.hyper_rate,
    )


def draw_equal_time(found: Comparison, run: Run) -> None:
    """Validation losses against seconds."""
    figure = Figure(figsize=(6.5, 3.4), layout="constrained")
    found.plot(figure.subplots())
    caption = f"Each for {found.budget:g} seconds, compiling not counted; of a search, its best until then."
    run.figures.save_plot("equal-time", figure, caption=caption)


def equal_time_table(found: Comparison) -> ResultTable:
    """What each had found, as the weights that it returned have it."""
    rows = tuple(
        (str(name), f"{own['valid loss']:.4f}", f"{own['test loss']:.4f}", str(own["steps or trials"]))
        for name, own in found.table().iterrows()
    )
    head = ("regularisers", "valid MSE", "test MSE", "steps or trials")
    return ResultTable(f"In {found.budget:g} seconds each, by the weights returned", head, rows)


def pictures(found: TuneResult, ridge: Ridge) -> Float[np.ndarray, "class row column"]:
    """log10 of the regularisers of the pixels, by class."""
    decay = np.log10(np.asarray(found.hyper["decay"], np.float64))[:-1]
    side = round(len(decay) ** 0.5)
    return decay.T.reshape(ridge.shape[1], side, side)
