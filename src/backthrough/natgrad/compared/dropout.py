"""Dropout kept on at prediction, as a distribution over weights (Gal and Ghahramani 2016)."""

from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array

from backthrough.core import ArgumentError, PRNGKey, PyTree, Scalar, check_positive
from backthrough.natgrad.compared.adam import squared_norm, train_with_adam, with_weights
from backthrough.natgrad.fit import Problem, Training


class DroppedWeights(eqx.Module):
    """W = M diag(z) in every `eqx.nn.Linear` layer, z a vector of bits that are 1 with probability 1 - rate.

    Attributes:
        full: The network with all its weights, the M.
        rate: Probability that an input of a layer is dropped.
    """

    full: Any
    rate: float = eqx.field(static=True)

    @property
    def mean(self) -> Any:
        """The network with the mean weights, (1 - rate) M."""
        return _with_matrices(self.full, [(1 - self.rate) * matrix for matrix in _matrices(self.full)])

    def sample(self, *, key: PRNGKey) -> Any:
        """The network without some inputs of each layer."""
        matrices = _matrices(self.full)
        keys = jax.random.split(key, len(matrices))
        return _with_matrices(self.full, [self._drop(*own) for own in zip(matrices, keys, strict=True)])

    def _drop(self, matrix: Array, key: PRNGKey) -> Array:
        shape = (*matrix.shape[:-2], 1, matrix.shape[-1])
        return matrix * jax.random.bernoulli(key, 1 - self.rate, shape)


class MCDropout(eqx.Module):
    """Dropout on the inputs of every `eqx.nn.Linear` layer, in training and in prediction.

    Each example of a minibatch drops inputs of its own. Gal and Ghahramani 2016, sec. 3, approximate the KL
    divergence from the prior by (1 - rate) / (2 prior_var) |M|^2, and for what isn't dropped by
    |b|^2 / (2 prior_var): weight decay. The outputs' noise is learned rather than searched for on a grid.

    Attributes:
        rate: Probability that an input is dropped, in [0, 1).
        learning_rate: The largest; it falls along half a cosine to a hundredth.

    Raises:
        ArgumentError: for a number out of range.
    """

    rate: float = eqx.field(static=True, default=0.05)
    learning_rate: float = eqx.field(static=True, default=1e-2)

    def __check_init__(self) -> None:
        if not 0 <= self.rate < 1:
            raise ArgumentError(f"rate must lie in [0, 1), got {self.rate!r}")
        check_positive("learning_rate", self.learning_rate)

    def training(self, problem: Problem, n_steps: int) -> Training:
        """How it trains; `finish` gives a `Fitted` whose weights are `DroppedWeights`."""
        if not _matrices(problem.model):
            raise ArgumentError("the model has no eqx.nn.Linear layer whose inputs MCDropout could drop")

        def posterior(weights: PyTree) -> DroppedWeights:
            return DroppedWeights(with_weights(problem, weights), self.rate)

        def outputs(weights: PyTree, x: Array, *, key: PRNGKey) -> Array:
            q = posterior(weights)
            keys = jax.random.split(key, len(x))
            return jax.vmap(lambda x, key: problem.apply(q.sample(key=key), x))(x, keys)[None]

        def divergence(weights: PyTree) -> Scalar:
            dropped = self.rate * squared_norm(_matrices(weights))
            return (squared_norm(weights) - dropped) / (2 * problem.prior_var)

        return train_with_adam(
            problem,
            n_steps,
            self.learning_rate,
            start=lambda weights: weights,
            outputs=outputs,
            divergence=divergence,
            posterior=posterior,
        )


def _is_linear(node: Any) -> bool:
    return isinstance(node, eqx.nn.Linear)


def _matrices(model: Any) -> list[Array]:
    """The weight matrix of each linear layer."""
    nodes = jax.tree_util.tree_leaves(model, is_leaf=_is_linear)
    return [node.weight for node in nodes if _is_linear(node)]


def _with_matrices(model: Any, matrices: list[Array]) -> Any:
    """The model with other weight matrices in its linear layers."""
    nodes, structure = jax.tree_util.tree_flatten(model, is_leaf=_is_linear)
    others = iter(matrices)
    changed = [
        eqx.tree_at(lambda layer: layer.weight, node, next(others)) if _is_linear(node) else node
        for node in nodes
    ]
    return jax.tree_util.tree_unflatten(structure, changed)
