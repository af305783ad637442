"""Which of the evaluated states is the best, and when to stop looking for a better one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from backthrough.core import ArgumentError, check_integer


@dataclass(frozen=True)
class Best:
    """Asks `fit` to keep the best state, by a number of its evaluations, and to stop when it gets no better.

    Attributes:
        metric: Name of the number.
        larger_is_better: Whether larger values are better.
        patience: Evaluations in a row without a new best after which training stops; None never stops it.

    Raises:
        ArgumentError: if the patience is below 1.
    """

    metric: str
    larger_is_better: bool
    patience: int | None = None

    def __post_init__(self) -> None:
        if self.patience is not None:
            check_integer("patience", self.patience, minimum=1)


class BestSoFar:
    """What `fit` knows of the best state so far; nothing, ever, when it was not asked for the best.

    Attributes:
        step: Step of the best state; 0 while there is none.
    """

    def __init__(self, best: Best | None, records: Mapping[str, Any] | None = None):
        self._best = best
        records = records or {"step": 0, "value": None, "waited": 0}
        self.step, self._value, self._waited = (records[name] for name in ("step", "value", "waited"))

    def records(self) -> dict[str, Any]:
        """JSON values from which to go on."""
        return {"step": self.step, "value": self._value, "waited": self._waited}

    def is_better(self, step: int, numbers: Mapping[str, Any]) -> bool:
        """Takes the numbers of an evaluation; whether its state is the best so far.

        Raises:
            ArgumentError: if the metric is not among the numbers, or is not one number.
        """
        if self._best is None:
            return False
        value = numbers.get(self._best.metric)
        if not isinstance(value, float):
            there = f"it is {value!r}" if value is not None else f"there are {', '.join(numbers)}"
            raise ArgumentError(f"best needs {self._best.metric!r} to be a number of evaluate; {there}")
        sign = 1 if self._best.larger_is_better else -1
        if self._value is None or sign * value > sign * self._value:
            self.step, self._value, self._waited = step, value, 0
            return True
        self._waited += 1
        return False

    @property
    def is_exhausted(self) -> bool:
        """Whether the patience is at its end."""
        patience = None if self._best is None else self._best.patience
        return patience is not None and self._waited >= patience
