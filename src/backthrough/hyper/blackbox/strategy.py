"""What a black-box strategy is."""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from backthrough.core import ArgumentError, PRNGKey, check_integer
from backthrough.hyper.engines.descent import RateOfHyper, check_rate, is_of_hyper
from backthrough.hyper.engines.engine import Path
from backthrough.hyper.space import BoundSpace


@runtime_checkable
class Proposals(Protocol):
    """Coordinates to try, one after the other."""

    def ask(self) -> Float[np.ndarray, " hyper"]:
        """The coordinates of the next trial, between the bounds."""
        ...

    def tell(self, valid_loss: float) -> None:
        """The validation loss of the trial last asked for; infinite if it was not finite."""
        ...


@runtime_checkable
class Search(Protocol):
    """A black-box strategy: it sees of the problem only the validation loss after each training.

    Attributes:
        trial_steps: Steps of each training.
        learning_rate: Of the weights in each training.
    """

    @property
    def trial_steps(self) -> int:
        """See above."""
        ...

    @property
    def learning_rate(self) -> RateOfHyper:
        """See above."""
        ...

    def start(self, space: BoundSpace, *, key: PRNGKey) -> Proposals:
        """Proposals for a space in which each hyperparameter has two bounds."""
        ...


def check_settings(trial_steps: int, learning_rate: RateOfHyper) -> None:
    """Raises `ArgumentError` for settings of a training out of range."""
    check_integer("trial_steps", trial_steps, minimum=1)
    if not is_of_hyper(learning_rate):
        check_rate("learning_rate", learning_rate)


def check_search(strategy: object) -> Search:
    """The strategy, or `ArgumentError` unless it is one, made."""
    if isinstance(strategy, type) or not isinstance(strategy, Search):
        raise ArgumentError(f"strategy must be a search such as RandomSearch(), got {strategy!r}")
    return strategy


def acts_through(strategy: Search) -> Path:
    """What a hyperparameter must change to be found, see `Engine`."""
    return "training" if is_of_hyper(strategy.learning_rate) else "loss"
