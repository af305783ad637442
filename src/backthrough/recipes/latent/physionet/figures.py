"""The pictures of the PhysioNet recipe: how well deaths are ranked, and stays beside their reconstruction."""

from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from matplotlib.figure import Figure

from backthrough.recipes.latent.physionet.cross_validation import roc_auc, roc_curve
from backthrough.recipes.latent.physionet.data import HOURS, take
from backthrough.recipes.latent.physionet.models import Case
from backthrough.train import Run

CHANNELS = ("HR", "SysABP", "Temp")
N_STAYS = 3
ENOUGH = 12  # measurements of each channel that make a stay worth showing
N_DRAWS = 200
BAND = (0.1, 0.9)


def draw_roc(
    run: Run,
    results: Mapping[str, Sequence[tuple[Bool[np.ndarray, "stay"], Float[np.ndarray, "stay"]]]],
) -> None:
    """The ROC curve of every model, a mean over folds, and the area under that of each fold."""
    figure = Figure(figsize=(7, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.1))
    rates = np.linspace(0, 1, 201)
    for index, (name, folds) in enumerate(results.items()):
        curves = [np.interp(rates, *roc_curve(labels, scores)) for labels, scores in folds]
        areas = np.array([roc_auc(labels, scores) for labels, scores in folds])
        left.plot(rates, np.mean(curves, axis=0), color=f"C{index}", label=name)
        right.plot(areas, np.full(len(areas), index), "o", color=f"C{index}", alpha=0.5)
        right.plot([areas.mean()], [index], "|", color=f"C{index}", markersize=24, markeredgewidth=2)
    left.plot([0, 1], [0, 1], ":", color="0.6")
    left.set(xlabel="false alarms", ylabel="deaths found", aspect="equal")
    left.legend(frameon=False, loc="lower right")
    right.set(xlabel="area under the curve", yticks=range(len(results)), yticklabels=list(results))
    right.set_ylim(len(results) - 0.5, -0.5)
    run.figures.save_plot(
        "roc",
        figure,
        caption="Deaths in the hospital found against false alarms, for stays held out, a mean over folds "
        "(left); the area under the curve of each fold (dots) and their mean (right).",
    )


def draw_records(run: Run, outcome: Any, data: Case, names: Sequence[str], *, n_bins: int, seed: int) -> None:
    """A few stays held out: what was seen, what was not, and the latent model's curve with its band."""
    seen, target = take(data.seen, outcome.rows), take(data.target, outcome.rows)
    columns = [names.index(name) for name in CHANNELS if name in names]
    counts = (seen.mask | target.mask)[..., columns].sum(1).min(1)
    shown = np.argsort(-np.minimum(counts, ENOUGH), kind="stable")[:N_STAYS]
    grid = jnp.arange(n_bins + 1) / n_bins  # the solver's steps go from one time to the next
    bands = _bands(outcome.model, take(outcome.test.seen, shown), grid, seed)
    figure = Figure(figsize=(7.5, 1.2 + 1.7 * len(shown)), layout="constrained")
    panels = figure.subplots(len(shown), len(columns), squeeze=False, sharex=True)
    hours, scale = HOURS * np.asarray(grid), outcome.scales.target
    asked = np.asarray(grid) >= data.target.times[data.target.mask.any(-1)].min()
    for row, stay in enumerate(shown):
        for axes, channel in zip(panels[row], columns, strict=True):
            curve, low, high = (
                scale.shift[channel] + scale.width[channel] * own[row, asked, channel] for own in bands
            )
            axes.fill_between(hours[asked], low, high, color="C0", alpha=0.2, linewidth=0, label="80 %")
            axes.plot(hours[asked], curve, color="C0", label="reconstruction")
            is_seen = seen.mask[stay, :, channel]
            is_hidden = target.mask[stay, :, channel] & ~is_seen
            for there, fill, label in ((is_hidden, "white", "not seen"), (is_seen, "0.25", "seen")):
                at, values = HOURS * target.times[stay, there], target.values[stay, there, channel]
                if len(at):
                    style = {"color": "0.25", "markerfacecolor": fill, "markersize": 3}
                    axes.plot(at, values, "o", label=label, **style)
            if row == 0:
                axes.set_title(names[channel])
            if row == len(shown) - 1:
                axes.set_xlabel("hours")
    entries = {}
    for axes in panels.flat:
        entries.update(
            {label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
        )
    figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=len(entries))
    run.figures.save_plot(
        "records",
        figure,
        caption="Stays held out, a row each: measurements (dots) in the data's units, and the latent model's "
        "curve at the mean of q with the band of 80 % of new measurements, at times that it is asked for.",
    )


def _bands(
    model: Any, seen: Any, grid: Float[Array, "time"], seed: int
) -> list[Float[np.ndarray, "stay time channel"]]:
    """The curve at the mean of q, and quantiles of new measurements over draws of z0 and noise.

    A draw has the same noise at all times, so that the edges are smooth; at one time nothing changes.
    """

    @eqx.filter_jit
    def of(model: Any, seen: Any, key: Array) -> tuple[Array, Array, Array]:
        def one(x: Any, key: Array) -> tuple[Array, Array, Array]:
            posterior = model.encoder(x)

            def draw(key: Array) -> Array:
                z_key, noise_key = jax.random.split(key)
                z, _ = posterior.sample_and_log_prob(key=z_key)
                means = model.model.means(z, grid)
                return means + jnp.exp(model.model.log_scale) * jax.random.normal(noise_key, means.shape[1:])

            values = jax.lax.map(draw, jax.random.split(key, N_DRAWS), batch_size=50)
            low, high = jnp.quantile(values, jnp.asarray(BAND), axis=0)
            return model.model.means(posterior.mean, grid), low, high

        return jax.vmap(one)(seen, jax.random.split(key, len(seen.times)))

    return [
        np.asarray(own) for own in of(model, jax.tree_util.tree_map(jnp.asarray, seen), jax.random.key(seed))
    ]
