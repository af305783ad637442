"""Batches as a pure function of the seed and the step, so that a resumed run sees what it would have seen."""

import hashlib
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from backthrough.core import ArgumentError, DataError, PyTree, check_integer


@runtime_checkable
class BatchSource(Protocol):
    """What `fit` asks of its batches.

    Attributes:
        data: Arrays that stay on the device for the whole run (None when there are none).
    """

    data: PyTree

    def identity(self) -> dict[str, Any]:
        """JSON values that tell whether a resumed run gets the same batches."""
        ...

    def n_rows(self) -> int:
        """Rows of a batch."""
        ...

    def inputs(self, step: int, rows: slice) -> PyTree:
        """Host arrays from which `fetch` makes these rows of the batch of this zero-based step."""
        ...

    def fetch(self, data: PyTree, inputs: PyTree) -> PyTree:
        """The rows; traced inside the compiled loop."""
        ...


class Batches:
    """Shuffled minibatches of arrays that fit in memory.

    The rows form one endless stream, a new permutation of all rows for each epoch; batch t is rows
    [t * batch_size, (t + 1) * batch_size) of that stream. Every row is used once an epoch, none is dropped,
    all batches have one size, and a batch may span the end of an epoch.

    Args:
        data: A pytree of arrays with a common leading axis.
        batch_size: Rows in a batch, from 1 to the number of rows.
        seed: Determines the order. A list of seeds makes batches for as many copies (see `over_seeds`), the
            copies along the second axis.

    Raises:
        DataError: if there are no rows or the leading axes differ.
        ArgumentError: if `batch_size` is less than 1 or more than the number of rows.
    """

    def __init__(self, data: PyTree, batch_size: int, *, seed: int | Sequence[int]):
        self.n_data = _common_length(data)
        if self.n_data == 0:
            raise DataError("the data are empty: there is no row to make a batch of")
        self.batch_size = check_integer("batch_size", batch_size, minimum=1)
        if self.batch_size > self.n_data:
            raise ArgumentError(
                f"batch_size {self.batch_size} is larger than the data ({self.n_data} rows); "
                f"use at most {self.n_data}"
            )
        if isinstance(seed, Sequence):
            self.seed = [check_integer("seed", own, minimum=0) for own in seed]
        else:
            self.seed = check_integer("seed", seed, minimum=0)
        for path, leaf in jax.tree_util.tree_leaves_with_path(data):
            _check_numbers(jax.tree_util.keystr(path), leaf)
        self.data = jax.tree_util.tree_map(jnp.asarray, data)
        self._orders: dict[tuple[int, int], np.ndarray] = {}

    def identity(self) -> dict[str, Any]:
        """Batch size, seed, and a digest of the data."""
        digest = hashlib.sha256()
        for path, leaf in jax.tree_util.tree_leaves_with_path(self.data):
            array = np.asarray(leaf)
            digest.update(f"{jax.tree_util.keystr(path)}{array.dtype}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return {"batch_size": self.batch_size, "batch seed": self.seed, "data": digest.hexdigest()}

    def n_rows(self) -> int:
        """The batch size."""
        return self.batch_size

    def inputs(self, step: int, rows: slice = slice(None)) -> np.ndarray:
        """Row numbers of the batch of this step, shape (row,), or (row, copies)."""
        if isinstance(self.seed, int):
            return self._rows(self.seed, step)[rows]
        return np.stack([self._rows(seed, step)[rows] for seed in self.seed], axis=1)

    def fetch(self, data: PyTree, inputs: PyTree) -> PyTree:
        """The rows `inputs` of every array."""
        return jax.tree_util.tree_map(lambda array: array[inputs], data)

    def _rows(self, seed: int, step: int) -> np.ndarray:
        position, missing, pieces = step * self.batch_size, self.batch_size, []
        while missing:
            epoch, row = divmod(position, self.n_data)
            piece = self._order(seed, epoch)[row : row + missing]
            pieces.append(piece)
            position, missing = position + len(piece), missing - len(piece)
        return np.concatenate(pieces)

    def _order(self, seed: int, epoch: int) -> np.ndarray:
        if (seed, epoch) not in self._orders:
            old = [key for key in self._orders if key[0] == seed and abs(key[1] - epoch) > 1]
            for key in old:
                del self._orders[key]
            generator = np.random.default_rng([seed, epoch])
            self._orders[seed, epoch] = generator.permutation(self.n_data).astype(np.int32)
        return self._orders[seed, epoch]


class Stream:
    """Batches made on the host by a function of the step, for data that do not fit in memory.

    Args:
        batch: `batch(step)` returns the arrays of that zero-based step. It must return the same arrays
            whenever it is called with the same step, and the same shapes and dtypes for all. With
            `batch_size` it is called as `batch(step, rows)` instead and returns only the rows in that slice
            of the batch: so each of several processes makes no more than its own.
        batch_size: Rows in a batch.

    Raises:
        ArgumentError: if `batch_size` is less than 1.
    """

    data = None

    def __init__(self, batch: Callable[..., PyTree], *, batch_size: int | None = None):
        self._batch = batch
        self._n_rows = None if batch_size is None else check_integer("batch_size", batch_size, minimum=1)
        self._by_rows = batch_size is not None

    def identity(self) -> dict[str, Any]:
        """Nothing: a function cannot be compared."""
        return {}

    def n_rows(self) -> int:
        """Rows of a batch, found in the first one unless they were given."""
        if self._n_rows is None:
            self._n_rows = _common_length(self._batch(0))
        return self._n_rows

    def inputs(self, step: int, rows: slice = slice(None)) -> PyTree:
        """These rows of the batch of this step, as NumPy arrays."""
        if self._by_rows:
            made = self._batch(step, slice(*rows.indices(self.n_rows())))
            return jax.tree_util.tree_map(np.asarray, made)
        made = jax.tree_util.tree_map(np.asarray, self._batch(step))
        if rows == slice(None):
            return made
        if _common_length(made) != self.n_rows():
            raise DataError(
                f"the batch of step {step} has {_common_length(made)} rows and that of step 0 had "
                f"{self.n_rows()}"
            )
        return jax.tree_util.tree_map(lambda leaf: leaf[rows], made)

    def fetch(self, data: Any, inputs: PyTree) -> PyTree:
        """The rows themselves."""
        return inputs


def fitting_batch_size(batch_size: int, n_data: int) -> int:
    """The batch size, or the number of rows of the data, with a warning, where they are fewer.

    For commands and recipes on the user's own data; `Batches` itself refuses.

    Raises:
        ArgumentError: if `batch_size` is less than 1.
    """
    check_integer("batch_size", batch_size, minimum=1)
    if 0 < n_data < batch_size:
        warnings.warn(
            f"batches have {n_data} rows, all that there are, and not {batch_size} as asked for", stacklevel=2
        )
        return n_data
    return batch_size


def _common_length(arrays: PyTree) -> int:
    """The length of the leading axis that all arrays share."""
    leaves = jax.tree_util.tree_leaves_with_path(arrays)
    if not leaves:
        raise DataError("there are no arrays to make batches of")
    sizes = {jax.tree_util.keystr(path): np.shape(leaf)[:1] for path, leaf in leaves}
    if len(set(sizes.values())) > 1 or () in sizes.values():
        raise DataError(f"all arrays need one common leading axis, got {sizes}")
    ((length,),) = set(sizes.values())
    return length


def _check_numbers(name: str, leaf: Any) -> None:
    """Refuses what JAX cannot hold, or would change without a word."""
    array = np.asarray(leaf)
    if array.dtype.kind not in "biufV":  # V: bfloat16 and its kin
        raise DataError(f"data{name} must be numbers, got {array.dtype}")
    if array.dtype.kind in "iu" and array.size and not jax.config.read("jax_enable_x64"):
        limits = np.iinfo(np.int32 if array.dtype.kind == "i" else np.uint32)
        if array.max() > limits.max or array.min() < limits.min:
            raise DataError(f"data{name} holds integers beyond 32 bits; re-index them or enable x64")
