"""The global hypernetwork (Lorraine and Duvenaud 2018, Algorithm 2)."""

from dataclasses import dataclass, field

import jax

from backthrough.core import PRNGKey, PyTree, Scalar, check_integer, check_positive
from backthrough.hyper.batches import first_batch
from backthrough.hyper.engines.descent import Rate, check_rate
from backthrough.hyper.engines.engine import Found, Order, Path, Place
from backthrough.hyper.engines.hypernet import (
    Hypernet,
    check_response,
    start,
    through_response,
    train_response,
)
from backthrough.hyper.problem import Coordinates, Problem, Weights
from backthrough.hyper.responses import MLP, Response


@dataclass(frozen=True)
class GlobalHypernet:
    """Learns the best response everywhere, then walks down the validation loss along it.

    ```
    loop:  x ~ training data, u ~ p(u)
           phi -= a grad_phi L_T(w_phi(u), u; x)
    loop:  x' ~ validation data
           u^ -= b grad_u L_V(w_phi(u^); x')
    return u^, w_phi(u^)
    ```

    Args:
        response: w_phi.
        learning_rate: Of phi: an Optax optimiser, or the rate of an Adam that falls along half a cosine.
        n_samples: Hyperparameters drawn in each step.
        spread: p(u): None for uniform between the bounds; else the standard deviation of a normal around the
            start, cut at the bounds.

    Raises:
        ArgumentError: for a setting out of range.
    """

    response: Response = field(default_factory=MLP)  # 50 units, the paper's
    learning_rate: Rate = 1e-3
    n_samples: int = 10
    spread: float | None = None
    train_steps: int = field(default=1, init=False, repr=False)
    order: Order = field(default="first", init=False, repr=False)
    acts_through: Path = field(default="loss", init=False, repr=False)

    def __post_init__(self) -> None:
        check_response(self.response)
        check_rate("learning_rate", self.learning_rate)
        check_integer("n_samples", self.n_samples, minimum=1)
        if self.spread is not None:
            check_positive("spread", self.spread)

    def init(self, problem: Problem, place: Place, *, key: PRNGKey) -> Hypernet:
        """phi before the first step.

        Raises:
            ArgumentError: if a hyperparameter lacks the bounds to draw between.
        """
        if self.spread is None:
            problem.space.check_bounded("GlobalHypernet(spread=None)")
        return start(self.response, self.learning_rate, problem, key=key)

    def fit(
        self, problem: Problem, state: Hypernet, place: Place, batches: PyTree, *, key: PRNGKey
    ) -> tuple[Hypernet, Scalar]:
        """The body of the first loop."""
        keys = jax.random.split(key, (2, self.n_samples))
        us = jax.vmap(lambda key: self._draw(problem, key))(keys[0])
        return train_response(
            self.learning_rate, problem, state, us, place, first_batch(batches), keys=keys[1]
        )

    def hypergradient(
        self,
        problem: Problem,
        state: Hypernet,
        place: Place,
        batches: PyTree,
        valid_batch: PyTree,
        *,
        key: PRNGKey,
    ) -> tuple[Hypernet, Found]:
        """The gradient in the second loop."""
        return state, through_response(problem, state, place, valid_batch, key=key)

    def weights(self, problem: Problem, state: Hypernet, u: Coordinates, centre: Coordinates) -> Weights:
        """w_phi(u)."""
        return state.response(u, centre)

    def _draw(self, problem: Problem, key: PRNGKey) -> Coordinates:
        space = problem.space
        if self.spread is None:
            return space.uniform(key=key)
        middle = space.initial
        return space.clip(middle + self.spread * jax.random.normal(key, middle.shape, middle.dtype))
