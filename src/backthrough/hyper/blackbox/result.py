"""What `search` returns."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from jaxtyping import Array, Float
from matplotlib.axes import Axes

from backthrough.core import PyTree


@dataclass(frozen=True, eq=False)
class SearchResult:
    """The best trial of a search, and how it was found.

    Attributes:
        hyper: Values by name, as the training loss gets them.
        u: Their coordinates (see `Real`), shape (h,).
        params: The parameters that were trained with them.
        valid_loss: L_V there, the smallest of all trials.
        history: A row for each trial: `trial` from 0, `seconds` since the start when it had ended,
            `valid loss` (infinite where it was not finite), and `best`, the smallest until then.
        n_trials: Trials made.
        train_evaluations: Gradients of the training loss in all trials together.
        seconds_compiling: Seconds before the start, in which the program of a trial was compiled.
        notes: What a reader must know before trusting it.
    """

    hyper: Mapping[str, Any]
    u: Float[Array, " hyper"]
    params: PyTree
    valid_loss: float
    history: pd.DataFrame
    n_trials: int
    train_evaluations: int
    seconds_compiling: float
    notes: tuple[str, ...]

    def plot(self, axes: Axes) -> Axes:
        """Each trial's validation loss over time, and the best until then."""
        axes.plot(self.history["seconds"], self.history["valid loss"], "o", markersize=3, label="trials")
        axes.step(self.history["seconds"], self.history["best"], where="post", label="best")
        axes.set(xlabel="seconds", ylabel="validation loss")
        axes.legend(frameon=False)
        return axes
