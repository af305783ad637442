"""Kronecker factors of a layer's Fisher information, and the frame of their eigenvectors."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Bool, Float

from backthrough.core import PyTree
from backthrough.natgrad.blocks import Layer
from backthrough.natgrad.noisy_adam import wide
from backthrough.natgrad.taps import Seen


class Factors(NamedTuple):
    """F ~ inputs (x) gradients.

    Attributes:
        inputs: E[a a^T], a the inputs with a 1 behind them; of a convolution summed over places.
        gradients: E[g g^T], g the gradients of the outputs; of a convolution the mean over places.
    """

    inputs: Float[Array, "in in"]
    gradients: Float[Array, "out out"]


class Frame(NamedTuple):
    """Eigenvectors of both factors, as columns, and their eigenvalues.

    Attributes:
        left: Of the inputs' factor.
        right: Of the gradients' factor.
        left_values: Eigenvalues of the inputs' factor.
        right_values: Eigenvalues of the gradients' factor.
    """

    left: Float[Array, "in in"]
    right: Float[Array, "out out"]
    left_values: Float[Array, "in"]
    right_values: Float[Array, "out"]

    @property
    def values(self) -> Float[Array, "in out"]:
        """Eigenvalues of the Kronecker product."""
        return self.left_values[:, None] * self.right_values


def factors_of(seen: Seen, layer: Layer) -> Factors:
    """The factors of a minibatch (Martens and Grosse 2015; for convolutions Grosse and Martens 2016, KFC).

    Of a layer with several uses the mean of the inputs meets the sum of the gradients ("reduce", Eschenhagen
    et al. 2023).
    """
    inputs, gradients = wide(seen.inputs[layer.name]), wide(seen.gradients[layer.name])
    n_rows = len(inputs)
    inputs, gradients = inputs.reshape(-1, inputs.shape[-1]), gradients.reshape(-1, gradients.shape[-1])
    return Factors(inputs.T @ inputs / n_rows, gradients.T @ gradients / len(gradients))


def frame_of(factors: Factors) -> Frame:
    """Eigenvectors and eigenvalues; those below zero are rounding, and are zero."""
    left_values, left = jnp.linalg.eigh(factors.inputs)
    right_values, right = jnp.linalg.eigh(factors.gradients)
    return Frame(left, right, jnp.maximum(left_values, 0), jnp.maximum(right_values, 0))


def initial_frame(layer: Layer, initial: Any) -> Frame:
    """The frame of `initial` times the identity."""
    n_in, n_out = layer.shape
    ones = jnp.ones(n_in), jnp.full(n_out, initial, float)
    return Frame(jnp.eye(n_in), jnp.eye(n_out), *ones)


def where_due(due: Bool[Array, ""], make: Callable[[], PyTree], old: PyTree) -> PyTree:
    """`make()` where it is due, else `old`; under vmap it is computed only if any lane's is due.

    A plain `cond` becomes a `select` under vmap, which computes both sides at every step.
    """

    def renewed() -> PyTree:
        return jax.tree_util.tree_map(lambda new, kept: jnp.where(due, new, kept), make(), old)

    return jax.lax.cond(_any(due), renewed, lambda: old)


@custom_vmap
def _any(due: Bool[Array, ""]) -> Bool[Array, ""]:
    return due


@_any.def_vmap
def _any_of_lanes(axis_size: int, in_batched: list[bool], due: Array) -> tuple[Array, bool]:
    return _any(jnp.any(due, axis=0) if in_batched[0] else due), False
