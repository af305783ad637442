"""What a latent-variable model, a posterior and an encoder must offer; nothing here computes."""

from typing import Protocol, runtime_checkable

from jaxtyping import Array, Float

from backthrough.core import PRNGKey, PyTree, Scalar

Latent = Float[Array, "latent"]
Data = PyTree
"""One example: an array, or a pytree of arrays such as `Observations`."""


@runtime_checkable
class LatentModel(Protocol):
    """p(x, z) for one example.

    A model that can also simulate data has `sample_x(z, *, key)`; functions that need it say so.
    """

    def log_prior(self, z: Latent) -> Scalar:
        """log p(z)."""
        ...

    def log_likelihood(self, x: Data, z: Latent) -> Scalar:
        """log p(x | z)."""
        ...

    def sample_prior(self, *, key: PRNGKey) -> Latent:
        """One draw from p(z)."""
        ...


@runtime_checkable
class Posterior(Protocol):
    """q(z | x) for one example.

    One that can be evaluated anywhere also has `log_prob(z)`; functions that need it say so.
    """

    def sample_and_log_prob(self, *, key: PRNGKey) -> tuple[Latent, Scalar]:
        """One reparameterised draw and its log-density."""
        ...


@runtime_checkable
class Encoder(Protocol):
    """Maps one example to its posterior."""

    def __call__(self, x: Data, /) -> Posterior:
        """q(z | x)."""
        ...
