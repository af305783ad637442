"""The UCI regression benchmark: methods side by side on all splits of a table at once."""

from dataclasses import asdict
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from backthrough.core import ArgumentError, PRNGKey, check_choice, check_integer
from backthrough.datasets import Regression, load
from backthrough.recipes.natgrad.methods import NOISES, likelihood_named, method_named
from backthrough.recipes.natgrad.splits import fit_splits, predict_splits, standardised_splits
from backthrough.recipes.natgrad.uci_regression.config import METHODS, Config
from backthrough.recipes.natgrad.uci_regression.published import published
from backthrough.regress import default_batch_size, default_n_epochs
from backthrough.train import Headline, Number, Run, mean_number

LEVEL = 0.9


class Held(NamedTuple):
    """What one method says of the test part of each split, in the units of the table.

    Attributes:
        y: Targets.
        mean: Predictive means.
        low: Lower end of the 90 % interval.
        high: Upper end.
        log_prob: Of each target, nats.
    """

    y: Float[np.ndarray, "split row"]
    mean: Float[np.ndarray, "split row"]
    low: Float[np.ndarray, "split row"]
    high: Float[np.ndarray, "split row"]
    log_prob: Float[np.ndarray, "split row"]

    @property
    def rmse(self) -> Float[np.ndarray, "split"]:
        """Root of the mean squared error of each split."""
        return np.sqrt(np.mean((self.mean - self.y) ** 2, axis=1))

    @property
    def log_likelihood(self) -> Float[np.ndarray, "split"]:
        """The mean log-probability of each split's rows, nats."""
        return self.log_prob.mean(1)

    @property
    def covered(self) -> Float[np.ndarray, "split"]:
        """Part of each split's rows that lie in their intervals."""
        return np.mean((self.low <= self.y) & (self.y <= self.high), axis=1)


def run(config: Config, run: Run) -> None:
    """Trains each method on all splits, and compares them split by split."""
    for name in ("n_splits", "n_draws"):
        check_integer(name, getattr(config, name), minimum=1)
    for name in ("n_epochs", "batch_size", "seed"):
        check_integer(name, getattr(config, name), minimum=0)
    for name in config.methods:
        check_choice("method", name, METHODS)
    if not config.methods or len(set(config.methods)) < len(config.methods):
        raise ArgumentError(f"methods must be different names, at least one, got {config.methods}")
    check_choice("noise", config.noise, NOISES)
    table = load(config.data)
    found = {}
    for name, key in zip(
        config.methods, jax.random.split(jax.random.key(config.seed), len(config.methods)), strict=True
    ):
        own_run = Run(run.path / name, config={**asdict(config), "method": name}, resume=run.is_resumed)
        found[name] = hold(name, config, table, key=key, run=own_run)
    numbers = numbers_of(config, found)
    draw(config, run, found)
    run.save_result(numbers, headline=headline(config, found, numbers))


def hold(name: str, config: Config, table: Regression, *, key: PRNGKey, run: Run | None = None) -> Held:
    """Trains a method on all splits at once, and measures it on their test parts."""
    splits = standardised_splits(table, config.n_splits)
    n_train = splits.x_train.shape[1]
    batch_size = min(config.batch_size or default_batch_size(n_train), n_train)
    fit_key, draw_key = jax.random.split(key)
    fitted = fit_splits(
        lambda key: eqx.nn.MLP(table.x.shape[1], 1, table.n_hidden, 1, key=key),
        likelihood_named(config.noise),
        splits,
        method=method_named(name, damping_style=config.damping_style),
        n_epochs=config.n_epochs or default_n_epochs(n_train, batch_size),
        batch_size=batch_size,
        key=fit_key,
        seed=config.seed,
        run=run,
        label=f"{name}, {len(splits.y_scale)} splits",
    )
    p = predict_splits(fitted, jnp.asarray(splits.x_test), n_samples=config.n_draws, key=draw_key)
    log_prob = eqx.filter_vmap(lambda p, y: p.log_prob(y))(p, jnp.asarray(splits.y_test))
    low, high = eqx.filter_vmap(lambda p: p.interval(LEVEL))(p)
    scale = splits.y_scale[:, None]
    numbers = (splits.y_test, np.asarray(p.means).mean(1), low, high)
    y, mean, low, high = (splits.y_mean[:, None] + scale * np.asarray(own, float)[..., 0] for own in numbers)
    return Held(y, mean, low, high, np.asarray(log_prob, float) - np.log(scale))


def numbers_of(config: Config, found: dict[str, Held]) -> list[Number]:
    """Means over splits with their standard errors, and paired differences from the first method."""
    what = f"{config.data}, mean over {config.n_splits} splits"
    numbers = []
    for name, own in found.items():
        numbers.append(mean_number(f"RMSE ({name})", own.rmse, "", f"{what}, units of the table"))
        numbers.append(mean_number(f"log-likelihood ({name})", own.log_likelihood, "nats", what))
        numbers.append(mean_number(f"coverage of the 90 % interval ({name})", own.covered, "", what))
    (first, best), *others = found.items()
    for name, own in others:
        paired = f"{what}, {first} less {name} on the same split"
        gain = best.log_likelihood - own.log_likelihood
        numbers.append(mean_number(f"log-likelihood, {first} less {name}", gain, "nats", paired))
        numbers.append(mean_number(f"RMSE, {first} less {name}", best.rmse - own.rmse, "", paired))
    return numbers


def headline(config: Config, found: dict[str, Held], numbers: list[Number]) -> Headline:
    """What the first method reaches, beside the last."""
    by_name = {number.name: number for number in numbers}
    first, *others = found
    name = f"log-likelihood ({first})"
    sentence = f"On {config.data}, {first} has a test log-likelihood of {by_name[name]} a row"
    if not others:
        return Headline(f"{sentence}.", name, "methods.svg")
    last = others[-1]
    difference = by_name[f"log-likelihood, {first} less {last}"]
    error = difference.standard_error or 0.0
    verdict = "no clear difference"
    if abs(difference.value) > 2 * error:
        verdict = "better" if difference.value > 0 else "worse"
    sentence += f" against {by_name[f'log-likelihood ({last})']} of {last} ({verdict}, split by split)."
    return Headline(sentence, name, "methods.svg")


def draw(config: Config, run: Run, found: dict[str, Held]) -> None:
    """Every split's error and log-likelihood by method, with the published means beside them."""
    figure = Figure(figsize=(8, 0.6 + 0.5 * max(3, len(found))), layout="constrained")
    sides = figure.subplots(1, 2, sharey=True)
    for axes, part, title in zip(
        sides, ("rmse", "log_likelihood"), ("RMSE", "log-likelihood (nats a row)"), strict=True
    ):
        for place, (name, own) in enumerate(found.items()):
            values = getattr(own, part)
            axes.plot(values, np.full(len(values), place), ".", color="0.6", markersize=4)
            error = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else None
            axes.errorbar(values.mean(), place, xerr=error, fmt="o", color="C0", capsize=3)
            other = published(config.data, name)
            if other is not None:
                axes.plot(getattr(other, part), place, "x", color="C1", markersize=7)
        axes.set_xlabel(title)
        axes.set_yticks(range(len(found)), list(found))
        axes.margins(y=0.2)
    sides[0].invert_yaxis()
    caption = (
        f"{config.data}: each split (grey), mean and standard error (blue), the paper's figure as recalled, "
        "not checked against its text (orange cross; its splits are others)."
    )
    run.figures.save_plot("methods", figure, caption=caption)
