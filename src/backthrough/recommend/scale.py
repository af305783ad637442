"""The scale that ratings are given on."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from backthrough.core import DataError

MOST_LEVELS = 32  # above so many different ratings the scale counts as continuous
KNOTS = 12  # of a continuous scale


@dataclass(frozen=True)
class RatingScale:
    """Which ratings there are: steps, such as half stars, or all numbers between two ends.

    A rating enters a network by the steps around it, in parts that sum to 1: a step itself is one of them.

    Attributes:
        steps: Ascending, two at least. Of a continuous scale, evenly spaced knots.
    """

    steps: tuple[float, ...]

    @classmethod
    def of(cls, ratings: Any) -> "RatingScale":
        """The scale that ratings seem to be given on: their values, or from the least to the greatest.

        Raises:
            DataError: if they are all the same, so that there is nothing to predict.
        """
        values = np.unique(np.asarray(ratings, np.float64))
        if len(values) < 2:
            raise DataError(f"all ratings are {values[0]:g}: there is nothing to predict")
        is_continuous = len(values) > MOST_LEVELS
        steps = np.linspace(values[0], values[-1], KNOTS) if is_continuous else values
        return cls(tuple(steps.tolist()))

    @property
    def low(self) -> float:
        """The least rating."""
        return self.steps[0]

    @property
    def high(self) -> float:
        """The greatest rating."""
        return self.steps[-1]

    def check(self, ratings: Float[np.ndarray, " rating"]) -> None:
        """Refuses ratings outside the ends.

        Raises:
            DataError: naming the first of them.
        """
        wrong = ~((ratings >= self.low) & (ratings <= self.high))
        if wrong.any():
            row = int(np.argmax(wrong))
            raise DataError(
                f"rating {row} is {ratings[row]:g}, and the scale goes from {self.low:g} to {self.high:g}: "
                "rescale the ratings, or fit with a scale that holds them"
            )

    def place(
        self, ratings: Float[np.ndarray, " rating"]
    ) -> tuple[Int[np.ndarray, " rating"], Float[np.ndarray, " rating"]]:
        """The step below each rating, and the part of the way to the next."""
        steps = np.asarray(self.steps)
        below = np.clip(np.searchsorted(steps, ratings, side="right") - 1, 0, len(steps) - 2)
        part = (ratings - steps[below]) / (steps[below + 1] - steps[below])
        return below.astype(np.int32), np.clip(part, 0.0, 1.0)
