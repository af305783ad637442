"""Line charts as inline SVG in the page's colours; `assets/page.js` makes them answer to hovering."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

WIDTH, HEIGHT = 520, 280
LEFT, RIGHT, TOP, BOTTOM = 56, 494, 12, 250
MOST_POINTS = 1000
WARM_UP = 0.02  # the first values may be far off; they do not set the axis

Curve = tuple[Sequence[float], Sequence[Any]]  # values: numbers, or one number a copy


def line_chart(title: str, curves: Mapping[str, Curve], *, of: str = "copies") -> str:
    """A `<figure>` with one chart of several curves against the step.

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
    every = max(len(steps) for steps, _ in curves.values()) > MOST_POINTS
    low_x = min(float(steps[0]) for steps, _ in thinned.values())
    high_x = max(float(steps[-1]) for steps, _ in thinned.values())
    high_x = high_x if high_x > low_x else low_x + 1
    low_y, high_y, outside = _range(thinned, low_x, high_x)

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (x - low_x) / (high_x - low_x) * (RIGHT - LEFT)
        down = BOTTOM - (y - low_y) / (high_y - low_y) * (BOTTOM - TOP)
        return round(across, 1), round(down, 1)

    axes, lines = [], []
    for tick in MaxNLocator(5).tick_values(low_y, high_y):
        if low_y <= tick <= high_y:
            _, y = place(low_x, tick)
            axes.append(f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y}" y2="{y}"/>')
            axes.append(f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{tick:g}</text>')
    for tick in MaxNLocator(5, integer=True).tick_values(low_x, high_x):
        if low_x <= tick <= high_x:
            x, _ = place(tick, low_y)
            axes.append(f'<text x="{x}" y="{BOTTOM + 18}" text-anchor="middle">{tick:,.0f}</text>')
    for index, (name, (xs, ys)) in enumerate(thinned.items()):
        if name in bands:
            lower, upper = (_thin(*edge) for edge in bands[name][1:])
            around = [*zip(*lower, strict=True), *reversed([*zip(*upper, strict=True)])]
            corners = " ".join(f"{x},{y}" for x, y in (place(*corner) for corner in around))
            lines.append(f'<polygon points="{corners}" style="fill:var(--series-{index % 6});opacity:0.2"/>')
        if len(xs) == 1:
            x, y = place(xs[0], ys[0])
            lines.append(f'<circle cx="{x}" cy="{y}" r="4" style="fill:var(--series-{index % 6})"/>')
        points = " ".join(f"{x},{y}" for x, y in (place(*pair) for pair in zip(xs, ys, strict=True)))
        lines.append(f'<polyline class="curve" style="stroke:var(--series-{index % 6})" points="{points}"/>')
    data = {
        "width": WIDTH,
        "left": LEFT,
        "right": RIGHT,
        "low": low_x,
        "high": high_x,
        "series": [[list(xs), list(ys)] for xs, ys in thinned.values()],
    }
    legend = "".join(
        f'<span><b style="background:var(--series-{index % 6})"></b>{escape(name)} '
        f'<span class="value">{ys[-1]:.5g}</span></span>'
        for index, (name, (_, ys)) in enumerate(thinned.items())
    )
    notes = " The first values lie outside." if outside else ""
    if copies:
        notes += f" Median of {max(copies.values())} {of}; the band holds 80 % of them."
    notes += f" Shown thinned to {MOST_POINTS:,} points." if every else ""
    return (
        f'<figure><svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)} against step" data-chart="{escape(json.dumps(data))}">'
        f'{"".join(axes)}<svg x="{LEFT}" y="{TOP}" width="{RIGHT - LEFT}" height="{BOTTOM - TOP}" '
        f'viewBox="{LEFT} {TOP} {RIGHT - LEFT} {BOTTOM - TOP}">{"".join(lines)}</svg>'
        f'<line class="cursor" y1="{TOP}" y2="{BOTTOM}"/></svg>'
        f'<div class="legend"><span class="step">last step</span>{legend}</div>'
        f"<figcaption>{escape(title)} against training step.{notes}</figcaption></figure>"
    )


def _band(steps: Sequence[float], values: Sequence[Sequence[float]]) -> tuple[Curve, Curve, Curve]:
    """Median, lower and upper tenth over copies."""
    middle, lower, upper = (np.quantile(values, q, axis=1).tolist() for q in (0.5, 0.1, 0.9))
    return (steps, middle), (steps, lower), (steps, upper)


def _thin(steps: Sequence[float], values: Sequence[float]) -> tuple[list[float], list[float]]:
    kept = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), MOST_POINTS)).astype(int))
    return [float(steps[i]) for i in kept], [float(f"{values[i]:.6g}") for i in kept]


def _range(curves: Mapping[str, Curve], low_x: float, high_x: float) -> tuple[float, float, bool]:
    """Limits of the vertical axis, and whether early values lie outside."""
    start = low_x + WARM_UP * (high_x - low_x)
    settled = [y for xs, ys in curves.values() for x, y in zip(xs, ys, strict=True) if x >= start]
    everything = [y for _, ys in curves.values() for y in ys]
    low, high = min(settled or everything), max(settled or everything)
    margin = 0.05 * (high - low) or max(abs(high), 1.0) * 0.05
    low, high = low - margin, high + margin
    return low, high, min(everything) < low or max(everything) > high
