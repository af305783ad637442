"""Functions that JAX cannot see into: NumPy code, a forest, a simulator."""

import math
from collections.abc import Callable
from typing import Any

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
        """f at one sample. Under `vmap`, also nested, there is one call for the whole batch."""
        sample = jax.tree_util.tree_map(jnp.asarray, sample)
        ndims = [leaf.ndim for leaf in jax.tree_util.tree_leaves(sample)]
        dtype = jnp.result_type(float)

        def call(batched: PyTree) -> np.ndarray:
            leaves, structure = jax.tree_util.tree_flatten(batched)
            arrays = [np.asarray(leaf) for leaf in leaves]
            batch = arrays[0].shape[: arrays[0].ndim - ndims[0]]
            n = math.prod(batch)
            rows = [array.reshape(n, *array.shape[len(batch) :]) for array in arrays]
            values = np.asarray(self.function(jax.tree_util.tree_unflatten(structure, rows)))
            if values.dtype.kind not in "biuf":
                raise ArgumentError(f"the NumPy function must return real numbers, got {values.dtype}")
            if values.shape != (n,):
                raise ArgumentError(
                    f"the NumPy function must return one number for each of {n} samples, shape ({n},), got "
                    f"shape {values.shape}"
                )
            bad = ~np.isfinite(values)
            if bad.any():
                at = int(np.argmax(bad))
                raise ArgumentError(f"the NumPy function returned {values[at]} for sample {at} of {n}")
            return values.astype(dtype).reshape(batch)

        result = jax.ShapeDtypeStruct((), dtype)
        return jax.pure_callback(call, result, sample, vmap_method="broadcast_all")


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
            shape or a number that is not finite is an error that names the sample.
    """
    if not callable(function):
        raise ArgumentError(f"numpy_function takes a callable, got {function!r}")
    return NumpyFunction(function)
