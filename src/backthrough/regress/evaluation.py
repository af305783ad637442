"""A fitted regressor beside plain methods: what it is off by, and whether its intervals hold."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.figure import Figure
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge

from backthrough.core import DataError
from backthrough.regress.calibration import Calibration, calibration
from backthrough.regress.prediction import TargetPrediction
from backthrough.regress.regressor import BayesianRegressor
from backthrough.train import Headline, Number, mean_number

MODEL, MEAN, LINEAR, FOREST = "network", "mean", "linear model", "random forest"
FEWEST = 10  # held-out rows below which no verdict is given
LEVEL = 0.9
FOREST_ROWS = 20_000  # that each tree sees at most: whole trees of more would fill the memory
SHOWN = 1_000  # points in a picture


@dataclass(frozen=True)
class Evaluation:
    """Held-out rows as a network and plain methods predict them; one target.

    Attributes:
        target: Its name.
        truth: What came out.
        prediction: What the network predicts.
        plain: What the plain methods predict, by name.
        log_prob: For those that have one, the log-density of each row, nats.
        calibration: Of the network's predictions.
    """

    target: str
    truth: Float[np.ndarray, "row"]
    prediction: TargetPrediction
    plain: dict[str, Float[np.ndarray, "row"]]
    log_prob: dict[str, Float[np.ndarray, "row"]]
    calibration: Calibration

    def table(self) -> pd.DataFrame:
        """One row a method: root mean square and mean absolute error, mean log-likelihood."""
        rows = []
        for name, guess in {MODEL: self.prediction.mean, **self.plain}.items():
            off = guess - self.truth
            own = self.log_prob[name].mean() if name in self.log_prob else np.nan
            rows.append((name, np.sqrt(np.mean(off**2)), np.abs(off).mean(), own))
        return pd.DataFrame(rows, columns=["method", "RMSE", "MAE", "log-likelihood"])

    def numbers(self) -> list[Number]:
        """Errors, likelihoods, and what the intervals hold."""
        unit, n = "", len(self.truth)
        of = f"over {n:,} held-out rows, in the unit of {self.target}"
        numbers = []
        for name, guess in {MODEL: self.prediction.mean, **self.plain}.items():
            numbers.append(_rmse(f"RMSE ({name})", guess - self.truth, f"root mean square {of}"))
        for name, guess in {MODEL: self.prediction.mean, **self.plain}.items():
            numbers.append(mean_number(f"MAE ({name})", np.abs(guess - self.truth), unit, f"mean {of}"))
        for name, own in self.log_prob.items():
            numbers.append(mean_number(f"log-likelihood ({name})", own, "nats", f"mean {of}"))
        found = self.calibration
        numbers.append(mean_number("CRPS", found.crps, unit, f"mean {of}; less is better"))
        for level, held, error, width in found.table().itertuples(index=False):
            what = f"part of the rows, {level:g} ± {error:.2g} is due; intervals are {width:.3g} wide"
            numbers.append(Number(f"inside {level:.0%} intervals", float(held), "", what))
        share = np.mean(self.prediction.epistemic_std**2 / self.prediction.std**2)
        what = "of the variance, mean over held-out rows: what more rows would take away"
        numbers.append(Number("epistemic part", float(share), "", what))
        return numbers

    def headline(self, *, picture: str = "") -> Headline:
        """Whether the network is better than the best plain method, and whether its intervals hold.

        A difference is clear where the mean of the paired differences of absolute errors, which a few rows
        far out sway less than squares, is more than two of its standard errors, and the RMSE agrees.
        """
        table = self.table()
        errors = dict(zip(table["method"], table["RMSE"], strict=True))
        rival = min(self.plain, key=lambda name: errors[name])
        own, best = np.abs(self.prediction.mean - self.truth), np.abs(self.plain[rival] - self.truth)
        gain = best - own
        error = gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else np.inf
        smaller = errors[MODEL] < errors[rival]
        article = {MEAN: "their mean", LINEAR: "a linear model", FOREST: "a random forest"}[rival]
        if len(gain) < FEWEST:
            verdict = f"{article} has {errors[rival]:.3g}, but {len(gain)} held-out rows are too few to tell"
        elif gain.mean() > 2 * error and smaller:
            verdict = f"better than the best plain method, {article} ({errors[rival]:.3g})"
        elif gain.mean() < -2 * error and not smaller:
            verdict = f"but {article} has {errors[rival]:.3g}, so use that where error bars are not needed"
        else:
            verdict = f"no clear difference from {article} ({errors[rival]:.3g})"
        plainest = "" if rival == LINEAR else f" against {errors[LINEAR]:.3g} of a linear model"
        found = self.calibration
        place = int(np.argmin(np.abs(found.levels - LEVEL)))
        held = f"{found.levels[place]:.0%} intervals hold {found.coverage[place]:.0%} of the rows"
        if len(gain) >= FEWEST:
            held += f", {found.verdict(LEVEL)}"
        sentence = (
            f"Predictions of {self.target} are off by {errors[MODEL]:.3g} (root mean square){plainest}, "
            f"{verdict}; {held}."
        )
        return Headline(sentence, f"RMSE ({MODEL})", picture)

    def plot(self) -> Figure:
        """What came out against what was predicted, with intervals; and what the intervals hold."""
        figure = Figure(figsize=(8.4, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        rows = np.arange(len(self.truth))[:: -(-len(self.truth) // SHOWN)]
        mean = self.prediction.mean
        low, high = self.prediction.interval(LEVEL)
        bars = np.stack([mean - low, high - mean])[:, rows]
        left.errorbar(
            mean[rows],
            self.truth[rows],
            xerr=bars.clip(min=0),
            fmt=".",
            markersize=4,
            elinewidth=0.7,
            alpha=0.6,
        )
        ends = [min(self.truth.min(), mean.min()), max(self.truth.max(), mean.max())]
        left.plot(ends, ends, color="0.5", linewidth=1)
        left.set(
            xlabel=f"{self.target} as predicted, {LEVEL:.0%} intervals",
            ylabel=f"{self.target} as it came out",
        )
        self.calibration.plot(right)
        return figure


def evaluate(
    model: BayesianRegressor, X: Any, y: Any, X_test: Any, y_test: Any, *, target: str = "target"
) -> Evaluation:
    """Held-out rows beside the mean, a linear model and a random forest.

    The linear model is a ridge regression on the same standardised features, with Gaussian noise of the
    size of its residuals; the forest has 100 trees, each of at most 20,000 rows.

    Args:
        model: Fitted to `X` and `y`, one target.
        X: The rows that it was fitted to; the plain methods are fitted to them too.
        y: Their targets, shape (row,).
        X_test: Other rows.
        y_test: Their targets.
        target: Its name.
    """
    y, y_test = np.asarray(y, np.float64), np.asarray(y_test, np.float64)
    if y.ndim != 1 or len(y_test) == 0:
        raise DataError("evaluate takes one target, of shape (row,), and one held-out row at the least")
    x, x_test = model.features_(X), model.features_(X_test)
    linear = Ridge().fit(x, y)
    free = max(1, len(y) - 1 - min(x.shape[1], len(y) - 2))
    noise = np.sqrt(max(np.sum((linear.predict(x) - y) ** 2) / free, 1e-12 * y.var()))
    forest = RandomForestRegressor(max_samples=min(1.0, FOREST_ROWS / len(y)), random_state=0).fit(x, y)
    plain = {
        MEAN: np.full(len(y_test), y.mean()),
        LINEAR: linear.predict(x_test),
        FOREST: forest.predict(x_test),
    }
    prediction = model.predictive(X_test)
    found = calibration(prediction, y_test)
    log_prob = {
        MODEL: found.log_prob,
        MEAN: _gaussian(y_test - plain[MEAN], float(y.std(ddof=1))),
        LINEAR: _gaussian(y_test - plain[LINEAR], float(noise)),
    }
    return Evaluation(target, y_test, prediction, plain, log_prob, found)


def _gaussian(off: Float[np.ndarray, "row"], scale: float) -> Float[np.ndarray, "row"]:
    return -0.5 * ((off / scale) ** 2 + np.log(2 * np.pi * scale**2))


def _rmse(name: str, off: Float[np.ndarray, "row"], what: str) -> Number:
    """The root of the mean square, whose standard error follows from that of the mean square."""
    squares = mean_number(name, off**2, "", what)
    root = float(np.sqrt(squares.value))
    error = None if squares.standard_error is None or root == 0 else squares.standard_error / (2 * root)
    return Number(name, root, "", what, error, squares.n)
