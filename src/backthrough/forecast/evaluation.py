"""A forecast beside what needs no model: the last value, the mean, the straight line."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.figure import Figure

from backthrough.core import DataError
from backthrough.datasets import SeriesTable
from backthrough.forecast.frames import shown_times
from backthrough.forecast.training import Bands
from backthrough.forecast.windows import Scale, Window
from backthrough.train import Headline, Number, mean_number

MODEL = "latent ODE"
SHOWN = 4
ALIKE = 0.05  # relative difference of two errors that is none


@dataclass(frozen=True)
class Evaluation:
    """The last rows of each series, forecast from the rows before them.

    Attributes:
        table: The series.
        windows: Context and last rows of each.
        bands: The forecasts.
        naive: The naive forecasts by name.
        level: Probability that the bands should hold.
        n_context: Rows of context.
    """

    table: SeriesTable
    windows: Sequence[Window]
    bands: Bands
    naive: dict[str, Float[np.ndarray, "window time column"]]
    level: float
    n_context: int

    @property
    def truth(self) -> Float[np.ndarray, "window time column"]:
        """What was observed; NaN where nothing was."""
        return np.stack([window.values[self.n_context :] for window in self.windows])

    def errors(self) -> dict[str, Float[np.ndarray, "column"]]:
        """Root mean squared errors of each method, one for each column, in the table's units.

        Raises:
            DataError: naming the column that has no value among the last rows.
        """
        seen = [self._seen(index) for index in range(len(self.table.names))]
        found = {}
        for name, guess in {MODEL: self.bands.mean, **self.naive}.items():
            squares = np.square(guess - self.truth)
            found[name] = np.sqrt([np.mean(squares[..., i][own]) for i, own in enumerate(seen)])
        return found

    def table_of_errors(self) -> pd.DataFrame:
        """The same as a frame: a row a method."""
        return pd.DataFrame.from_dict(self.errors(), orient="index", columns=list(self.table.names))

    def skill(self) -> float:
        """1 for a perfect forecast, 0 for one as good as the last value: 1 - (error / its error)^2.

        The mean over columns. Where the last value has no error at all, any error makes it hugely negative.
        """
        errors = self.errors()
        last = errors["last value"] ** 2
        return float(np.mean(1 - errors[MODEL] ** 2 / np.where(last > 0, last, np.finfo(float).tiny)))

    def numbers(self) -> list[Number]:
        """Errors and coverage, for each column."""
        numbers, errors = [], self.errors()
        n_series, n_rows, _ = self.truth.shape
        series = f"{n_series} series" if n_series > 1 else "the series"
        what = f"root mean square over the last {n_rows} rows of {series}, in the table's units"
        for index, column in enumerate(self.table.names):
            label = f", {column}" if len(self.table.names) > 1 else ""
            for name, own in errors.items():
                numbers.append(Number(f"held-out error ({name}{label})", float(own[index]), "", what))
            truth, seen = self.truth[..., index], self._seen(index)
            inside = (truth >= self.bands.low[..., index]) & (truth <= self.bands.high[..., index])
            due = f"held-out rows; {self.level:g} is due"
            numbers.append(mean_number(f"inside the band{label}", inside[seen].astype(float), "", due))
        return numbers

    def headline(self, *, picture: str = "") -> Headline:
        """Whether the forecast is better than the best of the naive ones."""
        errors, names = self.errors(), self.table.names
        sentences = []
        for index, column in enumerate(names[:SHOWN]):
            own = errors[MODEL][index]
            rival = min(self.naive, key=lambda name, i=index: errors[name][i])
            best = errors[rival][index]
            shown = "a straight line" if rival == "line" else f"the {rival}"
            of = f"{column}: " if len(names) > 1 else ""
            if abs(own - best) < ALIKE * best:
                verdict = f"no clear difference from {shown} ({best:.3g})"
            elif own < best:
                verdict = f"{own / best:.0%} of that of the best plain forecast, {shown}"
            else:
                verdict = f"but {shown} has {best:.3g}, so use that"
            sentences.append(f"{of}held-out error {own:.3g}, {verdict}")
        label = f", {names[0]}" if len(names) > 1 else ""
        text = "; ".join(sentences)
        return Headline(f"{text[0].upper()}{text[1:]}.", f"held-out error ({MODEL}{label})", picture)

    def plot(self, ahead: tuple[Sequence[Window], Bands] | None = None) -> Figure:
        """The ends of the first series and columns, with forecasts of their last rows and of what follows."""
        panels = [(s, c) for s in range(len(self.table.ids)) for c in range(len(self.table.names))][:SHOWN]
        figure = Figure(figsize=(6.5, 1 + 2.1 * len(panels)), layout="constrained")
        all_axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
        found: list[tuple[str, Sequence[Window], Bands]] = [("held out", self.windows, self.bands)]
        if ahead is not None:
            found.append(("ahead", *ahead))
        for axes, (index, channel) in zip(all_axes, panels, strict=True):
            self._draw(axes, index, channel, found)
        all_axes[0].legend(fontsize="small", loc="upper left")
        return figure

    def _draw(
        self, axes: Any, index: int, channel: int, found: list[tuple[str, Sequence[Window], Bands]]
    ) -> None:
        recent = slice(-3 * (self.n_context + len(self.windows[0].times)) // 2, None)
        times, values = self.table.times[index][recent], self.table.values[index][recent, channel]
        shown = shown_times(times, self.table)
        axes.plot(shown, values, ".", color="0.35", markersize=4, label="observed")
        for (kind, windows, bands), colour in zip(found, ("C0", "C1"), strict=False):
            at = shown_times(windows[index].times[self.n_context :], self.table)
            low, high = bands.low[index, :, channel], bands.high[index, :, channel]
            axes.fill_between(at, low, high, color=colour, alpha=0.25, linewidth=0)
            axes.plot(at, bands.mean[index, :, channel], color=colour, label=f"forecast, {kind}")
        axes.set_ylabel(self.table.names[channel])
        if len(self.table.ids) > 1:
            axes.set_title(self.table.ids[index], fontsize="medium")

    def _seen(self, index: int) -> np.ndarray:
        seen = np.isfinite(self.truth[..., index])
        if not seen.any():
            raise DataError(
                f"{self.table.source}: column {self.table.names[index]!r} has no value among the held-out "
                "rows"
            )
        return seen


def naive_forecasts(
    windows: Sequence[Window], scale: Scale, n_context: int
) -> dict[str, Float[np.ndarray, "window time column"]]:
    """What needs no model: the last value, the mean, and the straight line of each context.

    For a column that is missing in a context it is the mean of the training windows.
    """
    out: dict[str, list] = {"last value": [], "mean": [], "line": []}
    for window in windows:
        times, values = window.times[:n_context], window.values[:n_context]
        after = window.times[n_context:]
        last, mean, line = [], [], []
        for column, level in zip(values.T, scale.level, strict=True):
            seen = np.isfinite(column)
            own, at = (column[seen], times[seen]) if seen.any() else (np.full(1, level), times[:1])
            last.append(np.full(len(after), own[-1]))
            mean.append(np.full(len(after), own.mean()))
            slope = np.polyfit(at - at[-1], own, 1) if len(own) > 1 else np.array([0.0, own[0]])
            line.append(np.polyval(slope, after - at[-1]))
        for name, columns in (("last value", last), ("mean", mean), ("line", line)):
            out[name].append(np.stack(columns, axis=1))
    return {name: np.stack(own) for name, own in out.items()}
