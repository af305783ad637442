"""Whether predictions hold what they promise, in numbers and pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scoringrules
from jaxtyping import Float

from backthrough.core import ArgumentError, DataError, check_integer
from backthrough.natgrad import GaussianPredictive
from backthrough.regress.prediction import ClassPrediction, TargetPrediction

LEVELS = (0.5, 0.8, 0.9, 0.95)
CURVE = np.linspace(0, 1, 41)
ROWS_AT_ONCE = 256  # of the CRPS, which needs all pairs of draws


@dataclass(frozen=True)
class Calibration:
    """Predictive distributions beside what came out; numbers with the unit of the target are in it.

    Attributes:
        levels: Probabilities that central intervals should hold a target with.
        coverage: The part of the targets that they hold.
        standard_error: Of the coverage, were it the level: sqrt(level (1 - level) / rows).
        width: Mean width of the intervals, in the unit of the target.
        pit: For each row the predicted probability of less than its target: uniform if all is right. Of
            several outputs those of all, one row after the other.
        n_rows: Rows.
        rmse: Root mean square of what the means are off by, in the unit of the target.
        crps: Of each row the continuous ranked probability score, in the unit of the target: what the mean
            absolute error becomes for a distribution; less is better. Mean over outputs.
        log_prob: Of each row the log-density of its target, nats; NaN where only draws are known.
    """

    levels: Float[np.ndarray, "level"]
    coverage: Float[np.ndarray, "level"]
    standard_error: Float[np.ndarray, "level"]
    width: Float[np.ndarray, "level"]
    pit: Float[np.ndarray, "value"]
    n_rows: int
    rmse: float
    crps: Float[np.ndarray, "row"]
    log_prob: Float[np.ndarray, "row"]

    def table(self) -> pd.DataFrame:
        """One row a level: what is due, what came out, its standard error, mean width."""
        return pd.DataFrame(
            {
                "level": self.levels,
                "coverage": self.coverage,
                "standard error": self.standard_error,
                "mean width": self.width,
            }
        )

    def verdict(self, level: float) -> str:
        """Whether the intervals of a level are too narrow, too wide, or neither as far as rows tell."""
        place = int(np.argmin(np.abs(self.levels - level)))
        gap = self.coverage[place] - self.levels[place]
        if abs(gap) <= 2 * self.standard_error[place]:
            return "as they should"
        return "too few: they are too narrow" if gap < 0 else "more than they should: they are too wide"

    def plot(self, axes: Any) -> Any:
        """The part of targets that central intervals hold, against the part that they should.

        Args:
            axes: Matplotlib axes to draw on.

        Returns:
            The axes.
        """
        held = [np.mean(np.abs(self.pit - 0.5) <= level / 2) for level in CURVE]
        error = 2 * np.sqrt(CURVE * (1 - CURVE) / self.n_rows)
        low, high = np.clip(CURVE - error, 0, 1), np.clip(CURVE + error, 0, 1)
        axes.fill_between(CURVE, low, high, color="0.5", alpha=0.25, linewidth=0, label="chance alone")
        axes.plot([0, 1], [0, 1], color="0.5", linewidth=1, label="as it should be")
        axes.plot(CURVE, held, color="C0", label="came out")
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="intervals should hold", ylabel="targets that they hold")
        axes.set_aspect("equal")
        axes.legend(loc="upper left")
        return axes


def calibration(prediction: Any, y: Any, *, levels: Sequence[float] = LEVELS) -> Calibration:
    """Predictive distributions of numbers beside the targets that came out.

    Args:
        prediction: A `TargetPrediction`, a `natgrad.GaussianPredictive`, or draws of shape (sample, row) or
            (sample, row, output).
        y: The targets, shape (row,) or (row, output).
        levels: Of the central intervals, each between 0 and 1.

    Raises:
        ArgumentError: for a wrong shape or level.
        DataError: naming a target that is not finite.
    """
    due = np.asarray(levels, np.float64)
    if not ((due > 0) & (due < 1)).all():
        raise ArgumentError(f"levels must lie between 0 and 1, got {due.tolist()}")
    y = np.asarray(y, np.float64)
    if not np.isfinite(y).all():
        raise DataError(f"the target of row {int(np.argwhere(~np.isfinite(y))[0][0])} is not finite")
    found = prediction
    if isinstance(prediction, GaussianPredictive):
        n_outputs = prediction.means.shape[-1]
        found = TargetPrediction(
            np.asarray(prediction.means),
            np.asarray(prediction.scales),
            np.zeros(n_outputs),
            np.ones(n_outputs),
            y.ndim == 1,
        )
    if isinstance(found, TargetPrediction):
        pit, mean, log_prob = found.cdf(y), found.mean, found.log_prob(y)
        ends = found.quantiles([*(0.5 - due / 2), *(0.5 + due / 2)]).reshape(2, len(due), -1)
        crps = _crps_of_mixture(found, y.reshape(found.means.shape[1:]))
    else:
        draws = np.asarray(found, np.float64)
        if draws.ndim < 2 or draws.shape[1:] != y.shape:
            raise ArgumentError(f"draws must have shape (sample, *{y.shape}), got {draws.shape}")
        pit = np.mean(draws < y, axis=0) + 0.5 * np.mean(draws == y, axis=0)
        mean, log_prob = draws.mean(0), np.full(len(y), np.nan)
        ends = np.quantile(draws, [0.5 - due / 2, 0.5 + due / 2], axis=0).reshape(2, len(due), -1)
        crps = np.asarray(scoringrules.crps_ensemble(y, draws, m_axis=0)).reshape(len(y), -1).mean(1)
    return Calibration(
        due,
        np.array([np.mean(np.abs(pit - 0.5) <= level / 2) for level in due]),
        np.sqrt(due * (1 - due) / len(y)),
        (ends[1] - ends[0]).mean(1),
        np.ravel(pit),
        len(y),
        float(np.sqrt(np.mean(np.square(mean - y)))),
        crps,
        log_prob,
    )


def _crps_of_mixture(found: TargetPrediction, y: Float[np.ndarray, "row output"]) -> Float[np.ndarray, "row"]:
    """The closed form for a mixture of Gaussians (Grimit et al. 2006), mean over outputs."""
    total = np.zeros(len(y))
    for output in range(y.shape[1]):
        scales = found.spread[output] * found.scales[:, output].astype(np.float64)
        for start in range(0, len(y), ROWS_AT_ONCE):
            rows = slice(start, start + ROWS_AT_ONCE)
            means = found.centre[output] + found.spread[output] * found.means[:, rows, output].T.astype(float)
            every = np.broadcast_to(scales, means.shape)
            total[rows] += np.asarray(
                scoringrules.crps_mixnorm(y[rows, output], means, every, backend="numpy")
            )
    return total / y.shape[1]


@dataclass(frozen=True)
class ClassCalibration:
    """Predicted probabilities of classes beside what came out.

    Attributes:
        confidence: In each bin of rows the mean probability of the class predicted.
        frequency: In each bin the part of the rows where that class came out.
        n_in_bin: Rows in each bin; bins without a row are left out.
        accuracy: Part of the rows where the class predicted came out.
        expected_error: Mean over rows of the gap between confidence and frequency (Naeini et al. 2015); it
            falls to 0 for right probabilities only with many rows.
        brier: For each row the squared distance of the probabilities from what came out, 0 to 2.
        log_prob: For each row the log-probability of its class, nats.
    """

    confidence: Float[np.ndarray, "bin"]
    frequency: Float[np.ndarray, "bin"]
    n_in_bin: np.ndarray
    accuracy: float
    expected_error: float
    brier: Float[np.ndarray, "row"]
    log_prob: Float[np.ndarray, "row"]

    @property
    def standard_error(self) -> Float[np.ndarray, "bin"]:
        """Of the frequency in each bin, were it the confidence."""
        return np.sqrt(self.confidence * (1 - self.confidence) / self.n_in_bin)

    def table(self) -> pd.DataFrame:
        """One row a bin: confidence, frequency, its standard error, rows."""
        return pd.DataFrame(
            {
                "confidence": self.confidence,
                "frequency": self.frequency,
                "standard error": self.standard_error,
                "rows": self.n_in_bin,
            }
        )

    def plot(self, axes: Any) -> Any:
        """How often the predicted class came out, against the probability that it was given.

        Args:
            axes: Matplotlib axes to draw on.

        Returns:
            The axes.
        """
        axes.plot([0, 1], [0, 1], color="0.5", linewidth=1, label="as it should be")
        axes.errorbar(
            self.confidence,
            self.frequency,
            2 * self.standard_error,
            fmt="o-",
            color="C0",
            capsize=2,
            label="came out (± 2 errors)",
        )
        axes.set(
            xlim=(0, 1),
            ylim=(0, 1.02),
            xlabel="probability of the class predicted",
            ylabel="how often it came out",
        )
        axes.set_aspect("equal")
        axes.legend(loc="upper left")
        return axes


def class_calibration(prediction: ClassPrediction, y: Any, *, n_bins: int = 10) -> ClassCalibration:
    """Predicted probabilities beside the classes that came out.

    Args:
        prediction: What a classifier predicts.
        y: The class of each row.
        n_bins: Bins of equal width that rows are put into by the probability of the class predicted.

    Raises:
        ArgumentError: naming a class that was not there in training, or for a wrong shape.
    """
    n_bins = check_integer("n_bins", n_bins, minimum=1)
    places, shares = prediction.places(y), prediction.probabilities
    confidence, right = shares.max(1), (shares.argmax(1) == places).astype(float)
    bins = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    used = np.unique(bins)
    means = np.array([confidence[bins == one].mean() for one in used])
    frequencies = np.array([right[bins == one].mean() for one in used])
    counts = np.array([np.sum(bins == one) for one in used])
    came_out = np.eye(shares.shape[1])[places]
    return ClassCalibration(
        means,
        frequencies,
        counts,
        float(right.mean()),
        float(np.sum(counts * np.abs(means - frequencies)) / len(places)),
        np.square(shares - came_out).sum(1),
        prediction.log_prob(y),
    )
