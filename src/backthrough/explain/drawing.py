"""Pictures of an explanation: of images, sequences and rows of a table."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from backthrough.explain.explanation import Explanation, Regions

TITLES = {"ssr": "what suffices", "sdr": "what it cannot do without"}
MOST_DRAWS = 3
COLOUR = "C1"


def draw_explanation(explanation: "Explanation", index: int) -> Figure:
    """A figure of one input; see `Explanation.plot`."""
    if explanation.partition.canvas.ndim == 2:
        return _draw_picture(explanation, index)
    return _draw_row(explanation, index)


def _draw_picture(explanation: "Explanation", index: int) -> Figure:
    """Input and map on the left; a row for each region: its outline, and draws with it kept or hidden."""
    regions = explanation.regions
    n_draws = min(MOST_DRAWS, regions[0].counterfactuals.shape[1])
    figure = Figure(figsize=(1.9 * (2 + n_draws), 2.1 * len(regions) + 0.2), layout="constrained")
    panels = figure.subplots(len(regions), 2 + n_draws, squeeze=False)
    canvas = explanation.partition.canvas
    image = as_picture(explanation.x[index], canvas.shape)
    limits = (float(explanation.x[index].min()), float(explanation.x[index].max()))
    for row, region in zip(panels, regions, strict=True):
        show(row[0], image, limits)
        row[0].imshow(region.probability[index][canvas], cmap="magma", alpha=0.65, vmin=0, vmax=1)
        row[0].set_title(f"{TITLES[region.kind]}: probability", fontsize="small")
        show(row[1], image, limits)
        outline(row[1], region.selected[index][canvas])
        row[1].set_title(f"{region.area[index]:.0%} {region.verb}", fontsize="small")
        for axes, draw in zip(row[2:], region.counterfactuals[index], strict=False):
            show(axes, as_picture(draw, canvas.shape), limits)
            outline(axes, region.selected[index][canvas])
        row[2].set_title(_scores(explanation, region, index), fontsize="small")
    return figure


def _draw_row(explanation: "Explanation", index: int) -> Figure:
    """Bars of the probability of each unit; the chosen set is dark."""
    regions = explanation.regions
    names = explanation.partition.names or [str(i) for i in range(explanation.partition.n_units)]
    figure = Figure(figsize=(max(4.5, 0.16 * len(names)), 2.1 * len(regions)), layout="constrained")
    for axes, region in zip(figure.subplots(len(regions), 1, squeeze=False)[:, 0], regions, strict=True):
        draw_bars(axes, region.probability[index], region.spread[index], region.selected[index], names)
        axes.set_title(f"{TITLES[region.kind]}: {_scores(explanation, region, index)}", fontsize="small")
    return figure


def draw_bars(
    axes: Axes,
    probability: Float[np.ndarray, "unit"],
    spread: Float[np.ndarray, "unit"],
    selected: Bool[np.ndarray, "unit"],
    names: Sequence[str],
) -> None:
    """Probabilities of units with their spread over starts."""
    places = np.arange(len(names))
    axes.bar(places, probability, yerr=spread, color=np.where(selected, "C1", "0.75"), error_kw={"lw": 0.8})
    axes.set_ylim(0, 1.05)
    axes.set_ylabel("probability")
    step = max(1, len(names) // 40)
    long = max(map(len, names)) > 3
    axes.set_xticks(places[::step], names[::step], rotation=90 if long else 0, fontsize="x-small")


def as_picture(x: np.ndarray, size: tuple[int, ...]) -> Float[np.ndarray, "height width ..."]:
    """An input with its channels last; grey where it has one, the mean where they are no colours."""
    picture = np.asarray(x, np.float64)
    if picture.ndim == 3 and picture.shape[:2] != size:
        picture = np.moveaxis(picture, 0, -1)
    if picture.ndim == 3 and picture.shape[-1] != 3:
        picture = picture.mean(axis=-1)
    return picture


def show(axes: Axes, picture: np.ndarray, limits: tuple[float, float]) -> None:
    """A picture from its darkest to its brightest value, without ticks."""
    low, high = limits
    shown = np.clip((picture - low) / max(high - low, 1e-12), 0, 1)
    axes.imshow(shown, cmap="gray", vmin=0, vmax=1)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)


def outline(axes: Axes, mask: Bool[np.ndarray, "height width"]) -> None:
    """The border of a set of pixels."""
    height, width = mask.shape
    padded = np.pad(mask, 1)
    down = np.argwhere(padded[1:-1, 1:] != padded[1:-1, :-1])
    across = np.argwhere(padded[1:, 1:-1] != padded[:-1, 1:-1])
    lines = [((x - 0.5, x - 0.5), (y - 0.5, y + 0.5)) for y, x in down]
    lines += [((x - 0.5, x + 0.5), (y - 0.5, y - 0.5)) for y, x in across]
    for xs, ys in lines:
        axes.plot(xs, ys, color=COLOUR, linewidth=1.2, solid_capstyle="projecting")
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)


def _scores(explanation: "Explanation", region: "Regions", index: int) -> str:
    return f"score {explanation.score[index]:.1f} → {region.score[index]:.1f}"
