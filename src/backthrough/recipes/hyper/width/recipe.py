"""Gaps of hypernetworks in both losses, and the exact hypergradient where they end, against their width."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from backthrough.core import check_integer
from backthrough.hyper import MLP, GlobalHypernet, HyperSpace, Real, tune
from backthrough.recipes.hyper.ridge import Ridge, digits
from backthrough.recipes.hyper.width.config import Config
from backthrough.train import Headline, Number, Run, mean_number

LOW, HIGH = -10.0, 1.0


class Gaps(NamedTuple):
    """One hypernetwork.

    Attributes:
        train: Mean over log lambda between the bounds of L_T(w_phi) - L_T(w*).
        valid: Mean over the same of |L_V(w_phi) - L_V(w*)|.
        gradient: |dL_V(w*(lambda)) / d log lambda| where the run ends: 0 at a local optimum.
        off: Distance of log lambda from the optimum.
    """

    train: float
    valid: float
    gradient: float
    off: float


def run(config: Config, run: Run) -> None:
    """Trains hypernetworks of each width, and compares each with exact refits."""
    for width in config.widths:
        check_integer("width", width, minimum=1)
    for name in ("n_steps", "n_samples", "n_seeds"):
        check_integer(name, getattr(config, name), minimum=1)
    ridge = digits(config.n_train)
    grid = np.linspace(LOW, HIGH, 111)
    refits = [ridge.refit(np.exp(own)) for own in grid]
    found = {
        width: [one(config, run, ridge, width, number, grid, refits) for number in range(config.n_seeds)]
        for width in config.widths
    }
    numbers = numbers_of(found)
    draw(config, run, found)
    first, last = min(found), max(found)
    by_name = {number.name: number.value for number in numbers}
    ratio = by_name["training gap, widest over narrowest"]
    sentence = (
        f"From {first} to {last} hidden units the gap in the training loss falls to {ratio:.0%}, and the "
        f"widest ends {by_name['distance from the optimum']:.2f} from the best log lambda."
    )
    run.save_result(numbers, headline=Headline(sentence, "distance from the optimum", "width.svg"))


def one(
    config: Config,
    run: Run,
    ridge: Ridge,
    width: int,
    number: int,
    grid: np.ndarray,
    refits: list[np.ndarray],
) -> Gaps:
    """A hypernetwork, and its gaps."""
    decay = Real(float(np.exp(LOW)), float(np.exp(HIGH)), log=True)
    settings = {"width": width, "number": number}
    found = tune(
        ridge.train_loss,
        ridge.valid.loss,
        ridge.initial(),
        HyperSpace(decay=decay),
        engine=GlobalHypernet(MLP(width), config.learning_rate, n_samples=config.n_samples),
        n_steps=config.n_steps,
        key=jax.random.fold_in(jax.random.key(config.seed), number),
        run=Run(run.path / f"width-{width}-{number}", config=settings, resume=run.is_resumed),
        label=f"{width} units, {number + 1} of {config.n_seeds}",
    )
    problem, engine, state = found.tuner.problem, found.tuner.engine, found.state
    us = jnp.asarray(grid, jnp.float32)[:, None]
    learned = [np.asarray(problem.params(engine.weights(problem, state.engine, u, state.u))) for u in us]
    train = [
        _penalised(ridge, w, own) - _penalised(ridge, exact, own)
        for w, exact, own in zip(learned, refits, grid, strict=True)
    ]
    valid = [
        abs(ridge.valid.measured(w) - ridge.valid.measured(exact))
        for w, exact in zip(learned, refits, strict=True)
    ]
    best = grid[int(np.argmin([ridge.valid.measured(w) for w in refits]))]
    end, step = float(state.u[0]), 1e-3
    around = [ridge.valid.measured(ridge.refit(np.exp(end + own))) for own in (-step, step)]
    gradient = abs(around[1] - around[0]) / (2 * step)
    return Gaps(float(np.mean(train)), float(np.mean(valid)), gradient, abs(end - best))


def _penalised(ridge: Ridge, w: np.ndarray, log_decay: float) -> float:
    return ridge.train.measured(w) + float(np.exp(log_decay) * np.sum(np.square(w, dtype=np.float64)))


def numbers_of(found: dict[int, list[Gaps]]) -> list[Number]:
    """Means over seeds, and the widest beside the narrowest."""
    numbers, means = [], {}
    for width, own in found.items():
        for name, values in zip(Gaps._fields, np.array(own).T, strict=True):
            means[width, name] = float(values.mean())
            what = f"{width} units, mean over {len(own)} hypernetworks"
            if len(own) > 1:
                numbers.append(mean_number(f"{name} ({width} units)", values, "", what))
    first, last = min(found), max(found)
    for name, called in (
        ("train", "training gap"),
        ("valid", "validation gap"),
        ("gradient", "hypergradient"),
    ):
        ratio = means[last, name] / means[first, name]
        numbers.append(
            Number(f"{called}, widest over narrowest", ratio, "", f"{last} over {first} hidden units")
        )
    off = means[last, "off"]
    numbers.append(Number("distance from the optimum", off, "", f"{last} hidden units, in log lambda"))
    return numbers


def draw(config: Config, run: Run, found: dict[int, list[Gaps]]) -> None:
    """The four against the width."""
    figure = Figure(figsize=(9.5, 3), layout="constrained")
    titles = (
        "gap in the training loss",
        "gap in the validation loss",
        "exact hypergradient",
        "from the optimum",
    )
    for axes, name, title in zip(figure.subplots(1, 4), Gaps._fields, titles, strict=True):
        for width, own in found.items():
            axes.plot([width] * len(own), [getattr(each, name) for each in own], "o", color="C0", alpha=0.5)
        axes.plot(list(found), [np.mean([getattr(each, name) for each in own]) for own in found.values()])
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_title(title, fontsize="small")
        axes.set_xlabel("hidden units")
    caption = f"Digits, {config.n_train} for training; against exact refits. A point is a hypernetwork."
    run.figures.save_plot("width", figure, caption=caption)
