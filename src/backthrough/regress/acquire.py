"""Which rows are worth a label."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from backthrough.core import ArgumentError, check_choice, check_integer
from backthrough.regress.prediction import ClassPrediction, TargetPrediction


def acquire(model: Any, X: Any, n: int, *, by: str = "epistemic") -> Int[np.ndarray, "n"]:
    """The rows whose targets should be asked for next.

    Args:
        model: A fitted `BayesianRegressor` or `BayesianClassifier`.
        X: The rows to choose from.
        n: How many to choose.
        by: What is greatest for those chosen. `"epistemic"`: what a label would teach, for numbers the
            variance over networks, for classes the mutual information of label and network (Houlsby et al.
            2011). `"variance"`: for numbers the whole variance, noise included. `"entropy"`: for classes
            the whole entropy. Of several targets the variances add up, each in units of its own variance in
            training.

    Returns:
        Row numbers, the best first; of equal ones the first in `X`.

    Raises:
        ArgumentError: if there are fewer rows than that, or for an unknown `by`.
    """
    n = check_integer("n", n, minimum=1)
    found = model.predictive(X)
    if n > len(found):
        raise ArgumentError(f"n must be at most the number of rows, {len(found)}, got {n}")
    return np.argsort(-_worth(found, by), kind="stable")[:n]


def _worth(found: TargetPrediction | ClassPrediction, by: str) -> Float[np.ndarray, "row"]:
    if isinstance(found, ClassPrediction):
        check_choice("by", by, ("epistemic", "entropy"))
        return found.epistemic if by == "epistemic" else found.entropy
    check_choice("by", by, ("epistemic", "variance"))
    std = found.epistemic_std if by == "epistemic" else found.std
    return np.square(std.reshape(len(found), -1) / found.spread).sum(1)
