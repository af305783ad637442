"""Training and validation batches of one step."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax
import numpy as np

from backthrough.core import ArgumentError, PyTree
from backthrough.train import BatchSource


def first_batch(batches: PyTree) -> Any:
    """The first of the training batches of a step (None without batches)."""
    return jax.tree_util.tree_map(lambda array: array[0], batches)


class PairedBatches:
    """Some training batches and a validation batch, as one source for `fit`.

    Args:
        train: Training batches, or None.
        valid: Validation batches, or None.
        train_steps: Training batches of a step; they are stacked along a new leading axis.
        about: What else must be the same when a run is resumed.

    Raises:
        ArgumentError: if one is no source of batches.
    """

    def __init__(
        self, train: Any, valid: Any, *, train_steps: int, about: Mapping[str, str] = MappingProxyType({})
    ):
        for name, source in (("train_batches", train), ("valid_batches", valid)):
            if source is not None and not isinstance(source, BatchSource):
                raise ArgumentError(f"{name} must be Batches or a Stream, got {type(source).__name__}")
        self._sources, self._train_steps, self._about = (train, valid), train_steps, about
        self.data = tuple(None if own is None else own.data for own in self._sources)

    @property
    def is_same(self) -> bool:
        """Whether both are known to hold the same data."""
        digests = [None if own is None else own.identity().get("data") for own in self._sources]
        return digests[0] is not None and digests[0] == digests[1]

    def identity(self) -> dict[str, Any]:
        """The identities of both, and what else must be the same."""
        named = zip(("train", "valid"), self._sources, strict=True)
        return {**self._about, **{name: None if own is None else own.identity() for name, own in named}}

    def n_rows(self) -> int:
        """1: a step is not cut into shards."""
        return 1

    def inputs(self, step: int, rows: slice = slice(None)) -> PyTree:
        """What both need for this step."""
        train, valid = self._sources
        several = None
        if train is not None:
            first = step * self._train_steps
            each = [train.inputs(first + i, slice(None)) for i in range(self._train_steps)]
            several = jax.tree_util.tree_map(lambda *own: np.stack(own), *each)
        return several, None if valid is None else valid.inputs(step, slice(None))

    def fetch(self, data: PyTree, inputs: PyTree) -> PyTree:
        """(training batches, validation batch)."""
        train, valid = self._sources
        several, one = inputs
        return (
            None if train is None else jax.vmap(lambda own: train.fetch(data[0], own))(several),
            None if valid is None else valid.fetch(data[1], one),
        )
