"""Line charts of metrics against the step: what the template draws as SVG in the page's colours."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

WIDTH, HEIGHT = 520, 290
LEFT, RIGHT, TOP, BOTTOM = 56, 494, 12, 250
MOST_POINTS = 1000
WARM_UP = 0.02  # the first values may be far off; they do not set the axis

Values = tuple[Sequence[float], Sequence[Any]]  # steps, and values: numbers, or one number a copy


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: where it is and what it says."""

    at: float
    label: str


@dataclass(frozen=True)
class Curve:
    """A curve in the chart's coordinates.

    Attributes:
        name: For the legend.
        colour: Number of its colour.
        points: Its corners, as SVG writes them.
        last: Its last value.
        band: Corners of its band, if it has one.
        dot: Its only point, if it has one.
    """

    name: str
    colour: int
    points: str
    last: str
    band: str = ""
    dot: tuple[float, float] | None = None


@dataclass(frozen=True)
class Chart:
    """Several curves against the step.

    Attributes:
        title: The quantity on the vertical axis.
        curves: At least one.
        ticks_x: Of the step.
        ticks_y: Of the quantity.
        data: The values as JSON; `assets/page.js` shows them on hovering.
        notes: Sentences for the caption.
    """

    title: str
    curves: Sequence[Curve]
    ticks_x: Sequence[Tick]
    ticks_y: Sequence[Tick]
    data: str
    notes: Sequence[str] = ()
    width: int = field(default=WIDTH, init=False)
    height: int = field(default=HEIGHT, init=False)
    left: int = field(default=LEFT, init=False)
    right: int = field(default=RIGHT, init=False)
    top: int = field(default=TOP, init=False)
    bottom: int = field(default=BOTTOM, init=False)


def line_chart(title: str, curves: Mapping[str, Values], *, of: str = "copies") -> Chart:
    """A chart of several curves against the step.

    Args:
        title: The quantity on the vertical axis.
        curves: For each name the steps and the values, in order. Values that are lists, one number for each
            copy of a training, are drawn as their median and a band.
        of: What a curve with a band is the median of.
    """
    bands = {name: _band(*curve) for name, curve in curves.items() if isinstance(curve[1][0], list)}
    copies = {name: len(curves[name][1][0]) for name in bands}
    curves = {name: bands[name][0] if name in bands else curve for name, curve in curves.items()}
    thinned = {name: _thin(*curve) for name, curve in curves.items()}
    low_x = min(float(steps[0]) for steps, _ in thinned.values())
    high_x = max(float(steps[-1]) for steps, _ in thinned.values())
    high_x = high_x if high_x > low_x else low_x + 1
    low_y, high_y, outside = _range(thinned, low_x, high_x)

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (x - low_x) / (high_x - low_x) * (RIGHT - LEFT)
        down = BOTTOM - (y - low_y) / (high_y - low_y) * (BOTTOM - TOP)
        return round(across, 1), round(down, 1)

    def corners(points: Sequence[tuple[float, float]]) -> str:
        return " ".join(f"{x},{y}" for x, y in (place(*point) for point in points))

    drawn = []
    for index, (name, (xs, ys)) in enumerate(thinned.items()):
        band = ""
        if name in bands:
            lower, upper = (_thin(*edge) for edge in bands[name][1:])
            band = corners([*zip(*lower, strict=True), *reversed([*zip(*upper, strict=True)])])
        dot = place(xs[0], ys[0]) if len(xs) == 1 else None
        points = corners([*zip(xs, ys, strict=True)])
        drawn.append(Curve(name, index % 6, points, f"{ys[-1]:.5g}", band, dot))
    notes = ["The first values lie outside."] if outside else []
    if copies:
        notes.append(f"Median of {max(copies.values())} {of}; the band holds 80 % of them.")
    if max(len(steps) for steps, _ in curves.values()) > MOST_POINTS:
        notes.append(f"Shown thinned to {MOST_POINTS:,} points.")
    data = {
        "width": WIDTH,
        "left": LEFT,
        "right": RIGHT,
        "low": low_x,
        "high": high_x,
        "series": [[list(xs), list(ys)] for xs, ys in thinned.values()],
    }
    return Chart(
        title=title,
        curves=drawn,
        ticks_x=[
            Tick(place(tick, low_y)[0], f"{tick:,.0f}")
            for tick in MaxNLocator(5, integer=True).tick_values(low_x, high_x)
            if low_x <= tick <= high_x
        ],
        ticks_y=[
            Tick(place(low_x, tick)[1], f"{tick:g}")
            for tick in MaxNLocator(5).tick_values(low_y, high_y)
            if low_y <= tick <= high_y
        ],
        data=json.dumps(data),
        notes=notes,
    )


def _band(steps: Sequence[float], values: Sequence[Sequence[float]]) -> tuple[Values, Values, Values]:
    """Median, lower and upper tenth over copies."""
    middle, lower, upper = (np.quantile(values, q, axis=1).tolist() for q in (0.5, 0.1, 0.9))
    return (steps, middle), (steps, lower), (steps, upper)


def _thin(steps: Sequence[float], values: Sequence[float]) -> tuple[list[float], list[float]]:
    kept = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), MOST_POINTS)).astype(int))
    return [float(steps[i]) for i in kept], [float(f"{values[i]:.6g}") for i in kept]


def _range(curves: Mapping[str, Values], low_x: float, high_x: float) -> tuple[float, float, bool]:
    """Limits of the vertical axis, and whether early values lie outside."""
    start = low_x + WARM_UP * (high_x - low_x)
    settled = [y for xs, ys in curves.values() for x, y in zip(xs, ys, strict=True) if x >= start]
    everything = [y for _, ys in curves.values() for y in ys]
    low, high = min(settled or everything), max(settled or everything)
    margin = 0.05 * (high - low) or max(abs(high), 1.0) * 0.05
    low, high = low - margin, high + margin
    return low, high, min(everything) < low or max(everything) > high
