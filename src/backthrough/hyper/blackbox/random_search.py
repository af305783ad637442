"""Random search (Bergstra and Bengio 2012)."""

from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float

from backthrough.core import PRNGKey
from backthrough.hyper.blackbox.strategy import check_settings
from backthrough.hyper.engines.descent import RateOfHyper
from backthrough.hyper.space import BoundSpace


@dataclass(frozen=True)
class RandomSearch:
    """Trains with hyperparameters drawn uniformly between the bounds of their coordinates (see `Real`).

    Args:
        trial_steps: Steps of each training.
        learning_rate: Of the weights: an Optax optimiser, the rate of an Adam that falls along half a cosine,
            or a function of the named values that returns an Optax optimiser.

    Raises:
        ArgumentError: for a setting out of range.
    """

    trial_steps: int = 1000
    learning_rate: RateOfHyper = 1e-2

    def __post_init__(self) -> None:
        check_settings(self.trial_steps, self.learning_rate)

    def start(self, space: BoundSpace, *, key: PRNGKey) -> "UniformProposals":
        """Draws; what it is told it forgets."""
        return UniformProposals(space, key)


class UniformProposals:
    """Uniform draws between the bounds."""

    def __init__(self, space: BoundSpace, key: PRNGKey):
        self._space, self._key, self._asked = space, key, 0

    def ask(self) -> Float[np.ndarray, " hyper"]:
        """The next draw."""
        key = jax.random.fold_in(self._key, self._asked)
        self._asked += 1
        return np.asarray(self._space.uniform(key=key))

    def tell(self, valid_loss: float) -> None:
        """Nothing is learned from it."""
