"""A fitted classifier beside plain methods: how often it is right, and whether its probabilities hold."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.figure import Figure
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from backthrough.core import DataError
from backthrough.regress.calibration import ClassCalibration, class_calibration
from backthrough.regress.classifier import BayesianClassifier
from backthrough.regress.evaluation import FEWEST, FOREST, FOREST_ROWS, MODEL
from backthrough.regress.prediction import ClassPrediction
from backthrough.train import Headline, Number, mean_number

MAJORITY, LOGISTIC = "commonest class", "logistic regression"


@dataclass(frozen=True)
class ClassEvaluation:
    """Held-out rows as a network and plain methods classify them.

    Attributes:
        target: Its name.
        truth: The classes that came out.
        prediction: What the network predicts.
        right: For each method 1 where the class that it thinks most probable came out, 0 elsewhere.
        log_prob: For those that have one, the log-probability of each row's class, nats.
        calibration: Of the network's probabilities.
    """

    target: str
    truth: np.ndarray
    prediction: ClassPrediction
    right: dict[str, Float[np.ndarray, "row"]]
    log_prob: dict[str, Float[np.ndarray, "row"]]
    calibration: ClassCalibration

    def table(self) -> pd.DataFrame:
        """One row a method: accuracy and mean log-likelihood."""
        rows = [
            (name, own.mean(), self.log_prob[name].mean() if name in self.log_prob else np.nan)
            for name, own in self.right.items()
        ]
        return pd.DataFrame(rows, columns=["method", "accuracy", "log-likelihood"])

    def numbers(self) -> list[Number]:
        """How often each method is right, likelihoods, and whether probabilities hold."""
        of = f"over {len(self.truth):,} held-out rows"
        numbers = [
            mean_number(f"accuracy ({name})", own, "", f"mean {of}") for name, own in self.right.items()
        ]
        for name, own in self.log_prob.items():
            numbers.append(mean_number(f"log-likelihood ({name})", own, "nats", f"mean {of}"))
        found = self.calibration
        numbers.append(mean_number("Brier score", found.brier, "", f"mean {of}, 0 to 2; less is better"))
        what = f"mean gap between probability and frequency {of}, in {len(found.n_in_bin)} bins"
        numbers.append(Number("expected calibration error", found.expected_error, "", what))
        entropy = mean_number("entropy", self.prediction.entropy, "nats", f"mean of the predictions {of}")
        what = f"mean {of}: the part of the entropy that more rows would take away"
        return [*numbers, entropy, mean_number("epistemic entropy", self.prediction.epistemic, "nats", what)]

    def headline(self, *, picture: str = "") -> Headline:
        """Whether the network is right more often than the best plain method."""
        means = {name: own.mean() for name, own in self.right.items()}
        rival = max((name for name in means if name != MODEL), key=lambda name: means[name])
        gain = self.right[MODEL] - self.right[rival]
        error = gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else np.inf
        article = {
            MAJORITY: "always saying the commonest class",
            LOGISTIC: "a logistic regression",
            FOREST: "a random forest",
        }[rival]
        if len(gain) < FEWEST:
            verdict = f"{article} in {means[rival]:.0%}, but {len(gain)} held-out rows are too few to tell"
        elif gain.mean() > 2 * error and error > 0:
            verdict = f"more often than the best plain method, {article} ({means[rival]:.1%})"
        elif gain.mean() < -2 * error:
            verdict = f"but {article} in {means[rival]:.1%}, so use that where probabilities are not needed"
        else:
            verdict = f"no clear difference from {article} ({means[rival]:.1%})"
        sentence = (
            f"Classes of {self.target} are right in {means[MODEL]:.1%} of the held-out rows, {verdict}; "
            f"probabilities are off by {self.calibration.expected_error:.2g} on average."
        )
        return Headline(sentence, f"accuracy ({MODEL})", picture)

    def plot(self) -> Figure:
        """How often classes come out against their probabilities; entropies where right and wrong."""
        figure = Figure(figsize=(8.4, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        self.calibration.plot(left)
        entropy, was_right = self.prediction.entropy, self.right[MODEL] > 0
        bins = np.linspace(0, np.log(len(self.prediction.classes)), 21)
        for own, label, colour in ((was_right, "right", "C0"), (~was_right, "wrong", "C1")):
            right.hist(entropy[own], bins=bins, histtype="step", color=colour, label=label)
        right.set(xlabel="entropy of the prediction (nats)", ylabel="held-out rows")
        right.legend()
        return figure


def evaluate_classes(
    model: BayesianClassifier, X: Any, y: Any, X_test: Any, y_test: Any, *, target: str = "target"
) -> ClassEvaluation:
    """Held-out rows beside the commonest class, a logistic regression and a random forest.

    Args:
        model: Fitted to `X` and `y`.
        X: The rows that it was fitted to; the plain methods are fitted to them too.
        y: Their classes.
        X_test: Other rows.
        y_test: Their classes.
        target: Its name.
    """
    y, y_test = np.asarray(y), np.asarray(y_test)
    if len(y_test) == 0:
        raise DataError("evaluate_classes needs one held-out row at the least")
    x, x_test = model.features_(X), model.features_(X_test)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a little short of it is near enough to compare
        logistic = LogisticRegression(max_iter=500).fit(x, y)
    forest = RandomForestClassifier(max_samples=min(1.0, FOREST_ROWS / len(y)), random_state=0).fit(x, y)
    shares = np.array([np.mean(y == label) for label in model.classes_])
    prediction = model.predictive(X_test)
    places = prediction.places(y_test)
    guesses = {
        MODEL: model.classes_[prediction.log_probabilities.argmax(1)],
        MAJORITY: np.full(len(y_test), model.classes_[shares.argmax()]),
        LOGISTIC: logistic.predict(x_test),
        FOREST: forest.predict(x_test),
    }
    log_prob = {
        MODEL: prediction.log_prob(y_test),
        MAJORITY: np.log(shares)[places],
        LOGISTIC: logistic.predict_log_proba(x_test)[np.arange(len(y_test)), places],
    }
    right = {name: np.asarray(guess == y_test, np.float64) for name, guess in guesses.items()}
    return ClassEvaluation(target, y_test, prediction, right, log_prob, class_calibration(prediction, y_test))
