"""What an estimator asks of a family of distributions; nothing here computes."""

import abc
from typing import Any, ClassVar

import equinox as eqx
from jaxtyping import Array, Float

from backthrough.core import PRNGKey, PyTree, Scalar


class Family(eqx.Module):
    """A family of independent variables, as functions of its parameters.

    `params` are the parameters that gradients and variances are taken on; `z` is the relaxed variable, a
    differentiable function of params and noise; `b` is the sample. Everything is about one sample of all
    variables of one distribution.
    """

    name: ClassVar[str]
    discrete: ClassVar[bool]

    @abc.abstractmethod
    def read(self, distribution: Any) -> PyTree:
        """The parameters of a distribution."""

    @abc.abstractmethod
    def noise(self, params: PyTree, *, key: PRNGKey) -> PyTree:
        """Noise whose distribution does not depend on the parameters, of which only the shapes are used."""

    @abc.abstractmethod
    def relax(self, params: PyTree, noise: PyTree) -> PyTree:
        """z = z(params, noise)."""

    @abc.abstractmethod
    def harden(self, z: PyTree) -> PyTree:
        """b = H(z)."""

    @abc.abstractmethod
    def soften(self, z: PyTree, temperature: Scalar) -> PyTree:
        """A continuous stand-in for b, which tends to H(z) as the temperature falls to 0."""

    @abc.abstractmethod
    def condition(self, params: PyTree, b: PyTree, noise: PyTree) -> PyTree:
        """z from p(z | H(z) = b), a differentiable function of params and (fresh) noise."""

    @abc.abstractmethod
    def couple(self, params: PyTree, z: PyTree) -> PyTree:
        """The noise for which `condition(params, H(z), noise)` is `z`."""

    @abc.abstractmethod
    def log_prob(self, params: PyTree, b: PyTree) -> Scalar:
        """log p(b), summed over the variables."""

    @abc.abstractmethod
    def given_probs(self, distribution: Any) -> Float[Array, "variable outcome"] | None:
        """The probabilities that a discrete distribution was made from, in the order of `decode`.

        None if it was made from logits. At probability 0 and 1 the logits are infinite, and derivatives with
        respect to the probabilities don't pass through them.
        """

    @abc.abstractmethod
    def outcome_probs(self, params: PyTree) -> Float[Array, "variable outcome"]:
        """The probability of each outcome of each discrete variable, in the order of `decode`."""

    @abc.abstractmethod
    def outcomes(self, params: PyTree) -> tuple[int, ...]:
        """How many outcomes each discrete variable has; their order is that of `decode`."""

    @abc.abstractmethod
    def decode(self, params: PyTree, codes: PyTree) -> PyTree:
        """b from one whole number for each variable, shape (variables,)."""
