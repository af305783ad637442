"""A user's NumPy function as an infiller, such as an inpainting network of another library."""

import math
import traceback
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Shaped

from backthrough.core import ArgumentError, PRNGKey
from backthrough.explain.infill.infiller import Example, Mask, hide, keep

Filling = Callable[[np.ndarray, np.ndarray, np.ndarray], Any]


class NumpyInfiller(eqx.Module):
    """Hidden features get what a NumPy function on batches says.

    Kept features are put back afterwards, so the function need not copy them. Unless it is declared to leak,
    it gets zeros in place of what is hidden, and cannot. There is one call for a whole batch, under `vmap`
    too. It must be pure: draws are to depend on the seeds alone. It must not call JAX, which can deadlock.

    Attributes:
        function: Called as `function(x, mask, seeds)` with arrays of shape (row, ...), truth values of that
            shape (True = kept) and uint32 of shape (row,); returns an array of x's shape.
        conditional: Whether what it gives for an x depends on which features are kept.
        leaks: Whether it is given, and reads, hidden features.

    Examples:
        >>> import jax.numpy as jnp
        >>> def row_means(x, mask, seeds):
        ...     return (x * mask).sum(1, keepdims=True) / mask.sum(1, keepdims=True) + 0 * x
        >>> x, mask = jnp.array([1.0, 3.0, 7.0]), jnp.array([True, True, False])
        >>> infiller = NumpyInfiller(row_means)
        >>> infiller.sample(x, mask, key=jax.random.key(0), n_samples=1).tolist()
        [[1.0, 3.0, 2.0]]
    """

    function: Filling = eqx.field(static=True)
    conditional: bool = eqx.field(static=True)
    leaks: bool = eqx.field(static=True)

    def __init__(self, function: Filling, *, conditional: bool = True, leaks: bool = False):
        if not callable(function):
            raise ArgumentError(f"NumpyInfiller takes a callable, got {function!r}")
        self.function, self.conditional, self.leaks = function, conditional, leaks

    def sample(self, x: Example, mask: Mask, *, key: PRNGKey, n_samples: int) -> Shaped[Array, "sample ..."]:
        """As `Infiller.sample`.

        Raises:
            ArgumentError: if the function raises, or returns other than a finite number for each feature.
                Inside a compiled program JAX raises an error of its own, whose last line is the message.
        """
        values = x.astype(jax.numpy.promote_types(x.dtype, np.float32)) if self.leaks else hide(x, mask)
        seeds = jax.random.bits(key, (n_samples,), np.uint32)
        filled = jax.vmap(lambda seed: self._called_back(values, mask, seed))(seeds)
        return keep(x, mask, filled)

    def _called_back(self, values: Array, mask: Array, seed: Array) -> Array:
        """The function's answer for one example, computed on the host."""
        shape, dtype = values.shape, values.dtype

        def call(values: Any, mask: Any, seeds: Any) -> np.ndarray:
            batch = np.shape(seeds)
            n = math.prod(batch)
            # Of a copy: what the function changes in place must not be JAX's.
            rows, masks = (np.array(part).reshape(n, *shape) for part in (values, mask))
            answer = _answer(self.function, rows, masks, np.array(seeds).reshape(n))
            return answer.astype(dtype).reshape(*batch, *shape)

        return jax.pure_callback(
            call, jax.ShapeDtypeStruct(shape, dtype), values, mask, seed, vmap_method="broadcast_all"
        )


def _answer(function: Filling, rows: np.ndarray, masks: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """What the function returns, checked."""
    name = getattr(function, "__qualname__", type(function).__name__)
    shape, hidden = rows.shape, ~masks
    try:
        answer = np.asarray(function(rows, masks, seeds))
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        raise ArgumentError(
            f"the infill function {name}, called with x and mask of shape {shape}, raised "
            f"{type(error).__name__}: {error} ({last.filename}:{last.lineno} in {last.name})"
        ) from error
    if answer.dtype.kind not in "biuf":
        raise ArgumentError(f"the infill function {name} must return real numbers, got {answer.dtype}")
    if answer.shape != shape:
        raise ArgumentError(
            f"the infill function {name} must return an array of x's shape {shape}, got {answer.shape}"
        )
    bad = hidden & ~np.isfinite(answer)
    if bad.any():
        at = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ArgumentError(f"the infill function {name} returned {answer[at]} at {at}, which is hidden")
    return answer
