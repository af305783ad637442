"""What a response is: a function from hyperparameters to weights, to be trained."""

from typing import Protocol, runtime_checkable

from jaxtyping import Array, Float

from backthrough.core import PRNGKey
from backthrough.hyper.space import BoundSpace


@runtime_checkable
class ResponseFunction(Protocol):
    """w_phi, an Equinox module whose arrays are phi."""

    def __call__(
        self, u: Float[Array, " hyper"], centre: Float[Array, " hyper"], /
    ) -> Float[Array, " weight"]:
        """The weights at u; `centre` is where hyperparameters stand now, and no gradient goes through it."""
        ...


@runtime_checkable
class Response(Protocol):
    """A kind of response."""

    def init(self, space: BoundSpace, weights: Float[Array, " weight"], *, key: PRNGKey) -> ResponseFunction:
        """One that gives these weights everywhere, at the start."""
        ...
