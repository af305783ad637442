"""The most probable weights: what is found where no distribution over weights is asked for."""

from typing import Any

import equinox as eqx
from jaxtyping import Array

from backthrough.core import PRNGKey, PyTree, Scalar, check_positive
from backthrough.natgrad.compared.adam import outputs_with, squared_norm, train_with_adam, with_weights
from backthrough.natgrad.fit import Problem, Training


class PointWeights(eqx.Module):
    """All probability on one network.

    Attributes:
        mean: The network.
    """

    mean: Any

    def sample(self, *, key: PRNGKey) -> Any:
        """The network."""
        return self.mean


class MAP(eqx.Module):
    """Maximum a posteriori: the weights w that maximise log p(y | x, w) + log p(w), by Adam.

    With a prior N(0, prior_var) that is least squares with weight decay where the noise is fixed; a noise
    that is learned keeps its posterior, given these weights.

    Attributes:
        learning_rate: The largest; it falls along half a cosine to a hundredth.

    Raises:
        ArgumentError: unless the learning rate is above zero.
    """

    learning_rate: float = eqx.field(static=True, default=1e-2)

    def __check_init__(self) -> None:
        check_positive("learning_rate", self.learning_rate)

    def training(self, problem: Problem, n_steps: int) -> Training:
        """How it trains; `finish` gives a `Fitted` whose weights are `PointWeights`."""

        def outputs(weights: PyTree, x: Array, *, key: PRNGKey) -> Array:
            return outputs_with(problem, weights, x)[None]

        def minus_log_prior(weights: PyTree) -> Scalar:
            return squared_norm(weights) / (2 * problem.prior_var)

        return train_with_adam(
            problem,
            n_steps,
            self.learning_rate,
            start=lambda weights: weights,
            outputs=outputs,
            divergence=minus_log_prior,
            posterior=lambda weights: PointWeights(with_weights(problem, weights)),
        )
