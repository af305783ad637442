"""One look for all plots, and plots that can be read on a dark page too."""

import colorsys
import contextlib
import re
from collections.abc import Iterator
from typing import Any

SERIES = ("#0a62a8", "#c4500c", "#1f7a4d", "#9b3d8f", "#7a6a00", "#555555")
INK, SOFT, GRID = "#1d1f21", "#5d6167", "#dcdcd6"
MOST_COLOURS = 24  # a plot of more is a colour map, whose hues stay as they are

STYLE: dict[Any, Any] = {
    "axes.edgecolor": SOFT,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": "medium",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "font.size": 10,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "legend.fontsize": "small",
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "backthrough",
    "text.color": INK,
    "xtick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.color": SOFT,
    "ytick.labelcolor": INK,
}


@contextlib.contextmanager
def plot_style() -> Iterator[None]:
    """While active, matplotlib draws in the look of the pages."""
    import matplotlib
    from cycler import cycler

    with matplotlib.rc_context({**STYLE, "axes.prop_cycle": cycler(color=SERIES)}):
        yield


def readable_in_the_dark(svg: str) -> str:
    """An SVG of matplotlib's with a style sheet that gives its colours others on a dark page.

    Greys change places, dark hues become light. A plot of many colours keeps its hues: they are a colour map.
    """
    found = set(re.findall(r"(fill|stroke): (#[0-9a-f]{6})", svg))
    hues = {colour for _, colour in found if not _is_grey(colour)}
    rules = [
        f'[style*="{kind}: {colour}"]{{{kind}:{_in_the_dark(colour)}!important}}'
        for kind, colour in sorted(found)
        if colour not in hues or len(hues) <= MOST_COLOURS
    ]
    sheet = f"svg{{fill:{_in_the_dark('#000000')}}}{''.join(rules)}"  # black is left out by matplotlib
    style = f"<style>@media (prefers-color-scheme: dark){{{sheet}}}</style>"
    head, tag, rest = svg.partition("<defs>")
    return f"{head}{style}{tag}{rest}"


def _channels(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue


def _is_grey(colour: str) -> bool:
    channels = _channels(colour)
    return max(channels) - min(channels) < 0.1


def _in_the_dark(colour: str) -> str:
    hue, lightness, saturation = colorsys.rgb_to_hls(*_channels(colour))
    lightness = 0.93 - 0.8 * lightness if _is_grey(colour) else max(lightness, 0.68)
    return "#" + "".join(
        f"{round(255 * channel):02x}" for channel in colorsys.hls_to_rgb(hue, lightness, saturation)
    )
