"""Pictures of an explanation: of images, sequences and rows of a table."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from backthrough.explain.explanation import Explanation, Regions

TITLES = {"ssr": "suffices", "sdr": "indispensable"}
AFTER = {"ssr": "that alone", "sdr": "without that"}
LONG = {"ssr": "what suffices", "sdr": "what it cannot do without"}
MOST_DRAWS, MOST_ROWS = 3, 6
FADED = 0.3  # contrast of what is not in a region
COLOUR = "C1"


def draw_explanation(explanation: "Explanation", index: int) -> Figure:
    """A figure of one input; see `Explanation.plot`."""
    if explanation.partition.canvas.ndim == 2:
        return _draw_picture(explanation, index)
    return _draw_row(explanation, index)


def _draw_picture(explanation: "Explanation", index: int) -> Figure:
    """Input and map on the left; a row for each region: its outline, and draws with it kept or hidden."""
    regions = explanation.regions
    draws = [_distinct(own.counterfactuals[index])[:MOST_DRAWS] for own in regions]
    first = 2 if len(regions) == 1 else 1
    n_columns = first + 1 + max(map(len, draws))
    figure = Figure(figsize=(1.75 * n_columns, 2.05 * len(regions)), layout="constrained")
    panels = figure.subplots(len(regions), n_columns, squeeze=False)
    for axes in panels.flat:
        _bare(axes)
    show_input(panels[0, 0], explanation, index)
    panels[0, 0].set_title(f"score {explanation.score[index]:.1f}", fontsize="small")
    beside = panels[0, 1] if len(regions) == 1 else panels[1, 0]
    show_map(beside, explanation, index)
    beside.set_title("map", fontsize="small")
    for row, region, own in zip(panels[:, first:], regions, draws, strict=True):
        show_region(row[0], explanation, region, index)
        row[0].set_title(f"{TITLES[region.kind]} ({region.area[index]:.0%})", fontsize="small")
        for axes, draw in zip(row[1:], own, strict=False):
            show_draw(axes, explanation, region, index, draw)
        row[1].set_title(f"{AFTER[region.kind]}: {region.score[index]:.1f}", fontsize="small")
    return figure


def draw_overview(
    explanation: "Explanation",
    *,
    rows: Sequence[int] | None = None,
    boxes: Float[np.ndarray, "input side"] | None = None,
) -> Figure:
    """A row for each of several pictures: the input, its map, and each region with a draw.

    Args:
        explanation: Of pictures.
        rows: Which inputs; the first few when None.
        boxes: x0, y0, x1, y1 of what is known to be there in each input, dashed; NaN for none.
    """
    chosen = list(range(min(MOST_ROWS, len(explanation)))) if rows is None else list(rows)
    regions = explanation.regions
    n_columns = 2 + 2 * len(regions)
    figure = Figure(figsize=(1.45 * n_columns, 1.62 * len(chosen) + 0.15), layout="constrained")
    panels = figure.subplots(len(chosen), n_columns, squeeze=False)
    for row, index in zip(panels, chosen, strict=True):
        for axes in row:
            _bare(axes)
        show_input(row[0], explanation, index)
        row[0].set_xlabel(f"score {explanation.score[index]:.1f}", fontsize="small")
        if boxes is not None:
            dashed_box(row[0], boxes[index])
        show_map(row[1], explanation, index)
        row[1].set_xlabel(" ", fontsize="small")  # so that it is as large as the others
        for place, region in enumerate(regions):
            left, right = row[2 + 2 * place : 4 + 2 * place]
            show_region(left, explanation, region, index)
            left.set_xlabel(f"{region.area[index]:.0%} of the area", fontsize="small")
            show_draw(right, explanation, region, index, region.counterfactuals[index][0])
            right.set_xlabel(f"score {region.score[index]:.1f}", fontsize="small")
    titles = ["input", "map"]
    for region in regions:
        titles += [TITLES[region.kind], AFTER[region.kind]]
    for axes, title in zip(panels[0], titles, strict=True):
        axes.set_title(title, fontsize="small")
    return figure


def show_input(axes: Axes, explanation: "Explanation", index: int) -> None:
    """The input as it is."""
    show(
        axes,
        as_picture(explanation.x[index], explanation.partition.canvas.shape),
        _limits(explanation, index),
    )


def show_map(axes: Axes, explanation: "Explanation", index: int) -> None:
    """The map in colour on the input, grey and faint."""
    picture = as_picture(explanation.x[index], explanation.partition.canvas.shape)
    grey = picture if picture.ndim == 2 else picture.mean(axis=-1)
    low, high = _limits(explanation, index)
    shown = np.clip((grey - low) / max(high - low, 1e-12), 0, 1)
    axes.imshow(0.45 + 0.5 * shown, cmap="gray", vmin=0, vmax=1)
    colour = np.broadcast_to(to_rgb(COLOUR), (*grey.shape, 3))
    axes.imshow(np.concatenate([colour, 0.85 * explanation.map[index][..., None]], axis=-1))
    _bare(axes)


def show_region(axes: Axes, explanation: "Explanation", region: "Regions", index: int) -> None:
    """The input with the region outlined and what is not in it faded."""
    canvas = explanation.partition.canvas
    picture = as_picture(explanation.x[index], canvas.shape)
    mask = region.selected[index][canvas]
    low, high = _limits(explanation, index)
    inside = mask if picture.ndim == 2 else mask[..., None]
    show(axes, np.where(inside, picture, high - FADED * (high - picture)), (low, high))
    outline(axes, mask)


def show_draw(
    axes: Axes, explanation: "Explanation", region: "Regions", index: int, draw: Float[np.ndarray, "..."]
) -> None:
    """A counterfactual, with the outline of the region."""
    canvas = explanation.partition.canvas
    show(axes, as_picture(draw, canvas.shape), _limits(explanation, index))
    outline(axes, region.selected[index][canvas])


def dashed_box(axes: Axes, box: Float[np.ndarray, "4"]) -> None:
    """A true box, if there is one."""
    if np.isfinite(box).all():
        x0, y0, x1, y1 = box - 0.5
        corners = [x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0]
        axes.plot(*corners, color="k", linewidth=1.4)
        axes.plot(*corners, color="w", linewidth=1.4, linestyle=(0, (2, 2)))


def _distinct(draws: Float[np.ndarray, "draw ..."]) -> Float[np.ndarray, "own ..."]:
    """The draws, or one of them where the infiller has only one answer."""
    return draws[:1] if (draws == draws[:1]).all() else draws


def _limits(explanation: "Explanation", index: int) -> tuple[float, float]:
    return float(explanation.x[index].min()), float(explanation.x[index].max())


def _bare(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    axes.spines[:].set_visible(False)


def _draw_row(explanation: "Explanation", index: int) -> Figure:
    """Bars of the probability of each unit; the chosen set is dark."""
    regions = explanation.regions
    names = explanation.partition.names or [str(i) for i in range(explanation.partition.n_units)]
    room = 1.5 * len(regions) + 0.5 + 0.06 * max(map(len, names))
    figure = Figure(figsize=(max(4.5, 0.16 * len(names)), room), layout="constrained")
    panels = figure.subplots(len(regions), 1, squeeze=False, sharex=True)[:, 0]
    for axes, region in zip(panels, regions, strict=True):
        draw_bars(axes, region.probability[index], region.spread[index], region.selected[index], names)
        axes.set_title(f"{LONG[region.kind]}: {_scores(explanation, region, index)}", fontsize="small")
    for axes in panels:
        axes.label_outer()
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
    axes.bar(
        places,
        probability,
        yerr=_within(probability, spread),
        color=np.where(selected, "C1", "0.75"),
        error_kw={"lw": 0.8},
    )
    axes.set_ylim(0, 1.05)
    axes.set_ylabel("probability")
    step = max(1, len(names) // 40)
    long = max(map(len, names)) > 3
    axes.set_xticks(places[::step], names[::step], rotation=90 if long else 0, fontsize="x-small")


def _within(probability: Float[np.ndarray, "unit"], spread: Float[np.ndarray, "unit"]) -> list[np.ndarray]:
    """Lengths of error bars that end at 0 and 1."""
    return [np.minimum(spread, probability), np.minimum(spread, 1 - probability)]


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
    _bare(axes)


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
