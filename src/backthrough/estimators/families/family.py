"""What an estimator may ask of a family of distributions; nothing here computes.

Every family can be sampled and has a density: that is `Family`, and enough for score-function estimators. The
other classes each add what some estimators need; a family derives from all that it can offer.
"""

import abc
from typing import Any, ClassVar

import equinox as eqx
from jaxtyping import Array, Float, Int

from backthrough.core import PRNGKey, PyTree, Scalar


class Family(eqx.Module):
    """A family of independent variables, as functions of its parameters.

    `params` are the arrays that gradients and variances are taken on, one or a pytree of them, in single
    precision at the least. `b`, one array, is one sample of all variables of one distribution.

    Attributes:
        name: What messages call it.
    """

    name: ClassVar[str]

    @abc.abstractmethod
    def read(self, distribution: Any) -> PyTree:
        """The parameters of a distribution, differentiable in what it was made from.

        Raises:
            ArgumentError: if they are not as they should be.
        """

    @abc.abstractmethod
    def sample(self, params: PyTree, *, key: PRNGKey) -> Array:
        """One b."""

    @abc.abstractmethod
    def log_prob(self, params: PyTree, b: Array) -> Scalar:
        """log p(b), summed over the variables; differentiable in `params`."""


class ReparameterisedFamily(Family):
    """b is a differentiable function of the parameters and of noise."""

    @abc.abstractmethod
    def noise(self, params: PyTree, *, key: PRNGKey) -> Array:
        """Noise whose distribution does not depend on the parameters, of which only the shapes are used."""

    @abc.abstractmethod
    def relax(self, params: PyTree, noise: Array) -> Array:
        """b = b(params, noise)."""


class RelaxedFamily(Family):
    """b = H(z) for a continuous z, which is a differentiable function of the parameters and of noise."""

    @abc.abstractmethod
    def noise(self, params: PyTree, *, key: PRNGKey) -> Array:
        """Noise whose distribution does not depend on the parameters, of which only the shapes are used."""

    @abc.abstractmethod
    def relax(self, params: PyTree, noise: Array) -> Array:
        """z = z(params, noise)."""

    @abc.abstractmethod
    def harden(self, z: Array) -> Array:
        """b = H(z)."""

    @abc.abstractmethod
    def condition(self, params: PyTree, b: Array, noise: Array) -> Array:
        """z from p(z | H(z) = b), a differentiable function of params and (fresh) noise."""

    @abc.abstractmethod
    def couple(self, params: PyTree, z: Array) -> Array:
        """The noise for which `condition(params, H(z), noise)` is `z`."""


class SoftFamily(RelaxedFamily):
    """A relaxed family whose b has continuous stand-ins, at which f can be evaluated.

    The parameters are one array of logits.
    """

    @abc.abstractmethod
    def soften(self, z: Array, temperature: Scalar) -> Array:
        """A continuous stand-in for b, which tends to H(z) as the temperature falls to 0.

        At temperature 1, and logits for z, it is the mean of b.
        """

    @abc.abstractmethod
    def soften_tangent(self, value: Array, change: Array) -> Array:
        """The derivative along `change` of `soften` at temperature 1 where its value is `value`."""


class FiniteFamily(Family):
    """Each variable has the same, finite number of outcomes, which are numbered from 0."""

    @abc.abstractmethod
    def outcome_probs(self, params: PyTree) -> Float[Array, "variable outcome"]:
        """The probability of each outcome of each variable."""

    @abc.abstractmethod
    def given_probs(self, distribution: Any) -> Float[Array, "variable outcome"] | None:
        """The same of a distribution that was made from probabilities, as they were given; else None.

        At probability 0 and 1 logits are infinite, and derivatives with respect to the probabilities don't
        pass through them.
        """

    @abc.abstractmethod
    def decode(self, params: PyTree, codes: Int[Array, "variable"]) -> Array:
        """b from the number of each variable's outcome."""

    @abc.abstractmethod
    def encode(self, params: PyTree, b: Array) -> Int[Array, "variable"]:
        """The inverse of `decode`."""


class WeakDerivativeFamily(Family):
    """The derivative of the density in each parameter is a multiple of a difference of two densities."""

    @abc.abstractmethod
    def weak_derivative(self, params: PyTree, *, key: PRNGKey) -> tuple[PyTree, PyTree, PyTree]:
        """Factors, samples of the first and samples of the second density, coupled as well as may be.

        Each in the structure of `params`, in which every array has the shape of b: an entry belongs to one
        variable.
        """
