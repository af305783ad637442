"""What an engine is."""

from collections.abc import Mapping
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Array, Float

from backthrough.core import PRNGKey, PyTree, Scalar
from backthrough.hyper.problem import Coordinates, Problem, Weights

Order = Literal["first", "turns", "together"]
Path = Literal["loss", "derivative", "training"]


class Place(NamedTuple):
    """Where a run stands.

    Attributes:
        u: Coordinates, shape (h,).
        log_scale: Logarithm of the standard deviation with which coordinates are drawn around u, shape (h,).
        progress: The part of the steps that are made, from 0 to 1.
    """

    u: Coordinates
    log_scale: Float[Array, " hyper"]
    progress: Scalar


class Found(NamedTuple):
    """A hypergradient.

    Attributes:
        valid_loss: L_V at the weights of the place.
        by_u: dL_V / du, shape (h,).
        by_log_scale: The derivative by the logarithm of the scale; zeros if the engine does not learn it.
        metrics: What else there is to watch; a NaN among them means that the gradient cannot be trusted.
    """

    valid_loss: Scalar
    by_u: Coordinates
    by_log_scale: Float[Array, " hyper"]
    metrics: Mapping[str, Scalar]


@runtime_checkable
class Engine(Protocol):
    """One way to a hypergradient. Its state, whatever it is, is a pytree.

    Attributes:
        train_steps: Batches of training data that one step uses, along the leading axis.
        order: `first`, all training comes before the first move of the hyperparameters; `turns`, they take
            turns; `together`, the hypergradient trains.
        acts_through: What a hyperparameter must change to be tuned: `loss`, the training loss, in any way;
            `derivative`, in a way that can be differentiated; `training`, anything in the training.
    """

    @property
    def train_steps(self) -> int:
        """See above."""
        ...

    @property
    def order(self) -> Order:
        """See above."""
        ...

    @property
    def acts_through(self) -> Path:
        """See above."""
        ...

    def init(self, problem: Problem, place: Place, *, key: PRNGKey) -> PyTree:
        """The state before the first step."""
        ...

    def fit(
        self, problem: Problem, state: PyTree, place: Place, batches: PyTree, *, key: PRNGKey
    ) -> tuple[PyTree, Scalar]:
        """One step of training with the hyperparameters where they are; also the training loss."""
        ...

    def hypergradient(
        self,
        problem: Problem,
        state: PyTree,
        place: Place,
        batches: PyTree,
        valid_batch: PyTree,
        *,
        key: PRNGKey,
    ) -> tuple[PyTree, Found]:
        """The derivative of the validation loss; also the state after it."""
        ...

    def weights(self, problem: Problem, state: PyTree, u: Coordinates, centre: Coordinates) -> Weights:
        """What it takes for the best response at u when the hyperparameters stand at the centre."""
        ...
