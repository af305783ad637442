"""How the arrays of a network are gathered into blocks: a layer as one matrix, any other array by itself."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import pandas as pd
from jaxtyping import Array

from backthrough.core import PyTree

Leaves = dict[str, Array]
"""Arrays by their path in the network, such as `.layers[0].weight`."""


@dataclass(frozen=True)
class Layer:
    """A layer's weights and bias as the matrix that a row of inputs, with a 1 behind it, is multiplied by.

    Attributes:
        path: Of the layer in the network.
        kind: "linear", "conv" (Equinox's) or "convolution" (`nets.Convolution`).
        weight: Path of the weights.
        bias: Path of the bias, if there is one.
        n_in: Inputs of one output, without the 1.
        n_out: Outputs.
        weight_shape: Of the array itself.
        bias_shape: Of the array itself.
        n_uses: Calls of the layer for one example; above 1 it is shared, as over the steps of a series.
        n_places: Places that a convolution's window takes; 0 for a linear layer.
        dtypes: Of inputs and outputs.
    """

    path: str
    kind: str
    weight: str
    bias: str | None
    n_in: int
    n_out: int
    weight_shape: tuple[int, ...]
    bias_shape: tuple[int, ...] = ()
    n_uses: int = 1
    n_places: int = 0
    dtypes: tuple[str, str] = ("float32", "float32")

    @property
    def name(self) -> str:
        """The layer's path."""
        return self.path

    @property
    def leaves(self) -> tuple[str, ...]:
        """Paths of its arrays."""
        return (self.weight,) if self.bias is None else (self.weight, self.bias)

    @property
    def shape(self) -> tuple[int, int]:
        """Of the matrix."""
        return (self.n_in + (self.bias is not None), self.n_out)

    def gather(self, leaves: Mapping[str, Array]) -> Array:
        """The matrix, or a batch of them where the arrays have further axes in front."""
        weight = leaves[self.weight]
        front = weight.shape[: weight.ndim - len(self.weight_shape)]
        if self.kind == "convolution":
            matrix = weight
        else:
            matrix = jnp.swapaxes(weight.reshape(*front, self.n_out, self.n_in), -1, -2)
        if self.bias is None:
            return matrix
        return jnp.concatenate([matrix, leaves[self.bias].reshape(*front, 1, self.n_out)], axis=-2)

    def scatter(self, matrix: Array) -> Leaves:
        """The arrays that make this matrix."""
        weight = matrix[: self.n_in]
        weight = weight if self.kind == "convolution" else weight.T
        found = {self.weight: weight.reshape(self.weight_shape)}
        if self.bias is not None:
            found[self.bias] = matrix[self.n_in].reshape(self.bias_shape)
        return found


@dataclass(frozen=True)
class Leaf:
    """One array by itself.

    Attributes:
        path: Of the array in the network.
        shape: Of the array.
        why: Why it belongs to no layer's block.
    """

    path: str
    shape: tuple[int, ...]
    why: str = ""

    @property
    def name(self) -> str:
        """The array's path."""
        return self.path

    @property
    def leaves(self) -> tuple[str, ...]:
        """Its path."""
        return (self.path,)

    def gather(self, leaves: Mapping[str, Array]) -> Array:
        """The array."""
        return leaves[self.path]

    def scatter(self, matrix: Array) -> Leaves:
        """The array."""
        return {self.path: matrix}


@dataclass(frozen=True)
class Everything:
    """All arrays, one behind the other, as one row.

    Attributes:
        leaves: Their paths.
        shapes: Their shapes.
    """

    leaves: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @property
    def name(self) -> str:
        """What the block is called."""
        return "everything"

    @property
    def sizes(self) -> list[int]:
        """Numbers in each array."""
        return [math.prod(shape) for shape in self.shapes]

    @property
    def shape(self) -> tuple[int, int]:
        """Of the row."""
        return (1, sum(self.sizes))

    def gather(self, leaves: Mapping[str, Array]) -> Array:
        """The row, of shape (1, size); with a further axis in front of each array, (rows, size)."""
        rows = [leaves[path].reshape(-1, size) for path, size in zip(self.leaves, self.sizes, strict=True)]
        return jnp.concatenate(rows, axis=1)

    def scatter(self, matrix: Array) -> Leaves:
        """The arrays."""
        found, start = {}, 0
        for path, shape, size in zip(self.leaves, self.shapes, self.sizes, strict=True):
            found[path] = matrix[0, start : start + size].reshape(shape)
            start += size
        return found


Block = Layer | Leaf | Everything


@dataclass(frozen=True)
class Blocks:
    """Which arrays of a network form which block; made by `find_blocks`.

    Attributes:
        layers: Layers whose inputs and output gradients are seen.
        others: Arrays outside them, each with the reason.
    """

    layers: tuple[Layer, ...]
    others: tuple[Leaf, ...]

    def table(self) -> pd.DataFrame:
        """A line for each array: its block, its shape, and why it stands alone where it does."""
        lines = [
            {"array": path, "shape": shape, "block": f"{layer.kind} {layer.path}", "why": ""}
            for layer in self.layers
            for path, shape in zip(layer.leaves, (layer.weight_shape, layer.bias_shape), strict=False)
        ]
        lines += [
            {"array": leaf.path, "shape": leaf.shape, "block": "diagonal", "why": leaf.why}
            for leaf in self.others
        ]
        return pd.DataFrame(lines, columns=["array", "shape", "block", "why"])


def leaves_of(tree: PyTree) -> Leaves:
    """The floating-point arrays of a tree by their paths."""
    return {
        jax.tree_util.keystr(path): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
        if hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating)
    }


def with_leaves(tree: PyTree, leaves: Mapping[str, Array]) -> PyTree:
    """The tree with these arrays, in the types of those that they replace."""

    def replace(path: Any, leaf: Any) -> Any:
        new = leaves.get(jax.tree_util.keystr(path))
        return leaf if new is None else new.astype(leaf.dtype)

    return jax.tree_util.tree_map_with_path(replace, tree)
