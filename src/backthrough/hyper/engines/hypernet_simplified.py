"""The simplified hypernetwork (Lorraine and Duvenaud 2018, Algorithm 4)."""

from dataclasses import dataclass, field

import jax

from backthrough.core import ArgumentError, PRNGKey, PyTree, Scalar
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
from backthrough.hyper.responses import CentredLinear, Elementwise, Linear, Response


@dataclass(frozen=True)
class SimplifiedHypernet:
    """Learns the response only where the hyperparameters come by.

    ```
    loop:  x ~ training data, x' ~ validation data
           phi -= a grad_phi L_T(w_phi(u^), u^; x)
           u^ -= b grad_u L_V(w_phi(u^); x')
    return u^, w_phi(u^)
    ```

    Nothing but the movement of u^ shows phi how weights follow, so there is no guarantee: where u^ rests, the
    response may turn any way. It is here since published runs are of this kind; prefer `LocalHypernet`. A
    centred response learns nothing here, as u^ is its own centre.

    Args:
        response: w_phi, not centred.
        learning_rate: Of phi: an Optax optimiser, or the rate of an Adam that falls along half a cosine.

    Raises:
        ArgumentError: for a setting out of range.
    """

    response: Response = field(default_factory=Linear)
    learning_rate: Rate = 1e-3
    train_steps: int = field(default=1, init=False, repr=False)
    order: Order = field(default="turns", init=False, repr=False)
    acts_through: Path = field(default="loss", init=False, repr=False)

    def __post_init__(self) -> None:
        check_response(self.response)
        if isinstance(self.response, CentredLinear | Elementwise):
            raise ArgumentError(
                f"{self.response} is centred where the hyperparameters stand, and SimplifiedHypernet trains "
                "it nowhere else: it would not learn how weights follow. Use Linear(), or LocalHypernet"
            )
        check_rate("learning_rate", self.learning_rate)

    def init(self, problem: Problem, place: Place, *, key: PRNGKey) -> Hypernet:
        """phi before the first step."""
        return start(self.response, self.learning_rate, problem, key=key)

    def fit(
        self, problem: Problem, state: Hypernet, place: Place, batches: PyTree, *, key: PRNGKey
    ) -> tuple[Hypernet, Scalar]:
        """The second line of the box."""
        keys = jax.random.split(key, 1)
        return train_response(
            self.learning_rate, problem, state, place.u[None], place, first_batch(batches), keys=keys
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
        """The gradient in the third line."""
        return state, through_response(problem, state, place, valid_batch, key=key)

    def weights(self, problem: Problem, state: Hypernet, u: Coordinates, centre: Coordinates) -> Weights:
        """w_phi(u)."""
        return state.response(u, centre)
