"""Functions that JAX cannot see into: NumPy code, a forest, a simulator."""

import math
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from backthrough.core import ArgumentError, PyTree, Scalar


class NumpyFunction(eqx.Module):
    """A batched NumPy callable as a function of one sample; made by `numpy_function`.

    Attributes:
        function: Maps samples with a leading axis to one number each.
    """

    function: Callable[[Any], Any] = eqx.field(static=True)

    def __call__(self, sample: PyTree) -> Scalar:
        """f at one sample. Under `vmap`, also nested, there is one call for the whole batch.

        Raises:
            ArgumentError: if it is differentiated.
        """
        return _called_back(self.function, jax.tree_util.tree_map(jnp.asarray, sample))


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _called_back(function: Callable[[Any], Any], sample: PyTree) -> Scalar:
    """The function's value at one sample, computed on the host."""
    ndims = [leaf.ndim for leaf in jax.tree_util.tree_leaves(sample)]
    dtype = jnp.result_type(float)

    def call(batched: PyTree) -> np.ndarray:
        leaves, structure = jax.tree_util.tree_flatten(batched)
        arrays = [np.asarray(leaf) for leaf in leaves]
        batch = arrays[0].shape[: arrays[0].ndim - ndims[0]]
        n = math.prod(batch)
        rows = [array.reshape(n, *array.shape[len(batch) :]) for array in arrays]
        try:
            values = function(jax.tree_util.tree_unflatten(structure, rows))
        except Exception as error:
            shapes = ", ".join(str(row.shape) for row in rows)
            raise ArgumentError(
                f"the NumPy function {name_of(function)}, called with samples of shape {shapes}, raised "
                f"{type(error).__name__}: {error}{_place(error)}"
            ) from error
        return checked_values(values, n).astype(dtype).reshape(batch)

    return jax.pure_callback(call, jax.ShapeDtypeStruct((), dtype), sample, vmap_method="broadcast_all")


@_called_back.defjvp
def _no_derivative(function: Callable[[Any], Any], primals: PyTree, tangents: PyTree) -> NoReturn:
    raise ArgumentError(
        f"the derivative of the NumPy function {name_of(function)} was asked for, and there is none. Use an "
        "estimator that needs only values of f, such as LeaveOneOut, DisARM, or RELAX without a temperature"
    )


def checked_values(values: object, n: int) -> np.ndarray:
    """One finite real number for each of n samples.

    Raises:
        ArgumentError: if they are something else.
    """
    values = np.asarray(values)
    if values.dtype.kind not in "biuf":
        raise ArgumentError(f"the NumPy function must return real numbers, got {values.dtype}")
    if values.shape != (n,):
        raise ArgumentError(
            f"the NumPy function must return one number for each of {n} samples, shape ({n},), got shape "
            f"{values.shape}"
        )
    bad = ~np.isfinite(values)
    if bad.any():
        at = int(np.argmax(bad))
        raise ArgumentError(f"the NumPy function returned {values[at]} for sample {at} of {n}")
    return values


def name_of(function: Callable[[Any], Any]) -> str:
    """What the caller knows it by."""
    return getattr(function, "__qualname__", type(function).__name__)


def _place(error: BaseException) -> str:
    """Where it was raised."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f" ({last.filename}:{last.lineno} in {last.name})"


def numpy_function(function: Callable[[Any], Any]) -> NumpyFunction:
    """Makes a NumPy callable on batches usable as f.

        >>> import jax.numpy as jnp
        >>> f = numpy_function(lambda b: b.sum(axis=1))
        >>> float(f(jnp.ones(3)))
        3.0

    Args:
        function: Maps samples along a leading axis (arrays, or a pytree of arrays, as the distribution is) to
            an array of one finite number each. It must be pure, and must not call JAX.

    Returns:
        A function of one sample, for `expect`; under `vmap` the samples reach `function` in one call.

    Raises:
        ArgumentError: if `function` is not callable. What it returns is checked when it is called: a wrong
            shape or a number that is not finite is an error that names the sample, and what it raises is
            named with its place. Inside a compiled program JAX raises an error of its own, whose last line
            is the message.
    """
    if not callable(function):
        raise ArgumentError(f"numpy_function takes a callable, got {function!r}")
    return NumpyFunction(function)
