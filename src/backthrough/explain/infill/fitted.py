"""The data that infillers are fitted to: what is refused, and the shape and range that are remembered."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from backthrough.core import ArgumentError, DataError, check_finite

BEYOND = 0.5  # how far beyond what was seen a value may lie, as a part of the range


class Seen(eqx.Module):
    """What the examples were like that an infiller was fitted to.

    Attributes:
        low: Smallest values: of each feature of a row, or of all features together where an example has more
            axes than one.
        high: Largest values.
        shape: Of one example.
    """

    low: Float[Array, "*column"]
    high: Float[Array, "*column"]
    shape: tuple[int, ...] = eqx.field(static=True)

    @classmethod
    def of(cls, X: Float[np.ndarray, "example ..."]) -> "Seen":
        """Shape and range of these examples."""
        axis = 0 if X.ndim == 2 else None
        low, high = (np.asarray(edge(X, axis=axis), np.float32) for edge in (np.min, np.max))
        return cls(jnp.asarray(low), jnp.asarray(high), X.shape[1:])

    def check(self, x: Shaped[np.ndarray | Array, "example ..."]) -> None:
        """Refuses examples of another shape, or far outside the range.

        Raises:
            ArgumentError: naming the shape, or the first value that lies more than half the range beyond it.
        """
        values = np.asarray(x)
        if values.shape[1:] != self.shape:
            raise ArgumentError(
                f"the infiller was fitted to examples of shape {self.shape}, these have {values.shape[1:]}"
            )
        values = values.astype(np.float64)
        low, high = np.asarray(self.low, np.float64), np.asarray(self.high, np.float64)
        spread = np.where(high > low, high - low, np.maximum(np.abs(low), 1))
        beyond = (values < low - BEYOND * spread) | (values > high + BEYOND * spread)
        if beyond.any():
            at = tuple(int(i) for i in np.argwhere(beyond)[0])
            column = at[1:] if low.ndim else ()
            raise ArgumentError(
                f"x{list(at)} is {values[at]:.4g}, but the infiller was fitted to values from "
                f"{low[column]:.4g} to {high[column]:.4g}: scale x as the data for the infiller were scaled, "
                "or fit it to data like x"
            )


def training_examples(X: Any, *, axes: tuple[int, ...] = ()) -> Float[np.ndarray, "example ..."]:
    """Examples to fit an infiller to, in single precision (double where they are).

    Args:
        X: Array or data frame with a leading axis of examples.
        axes: How many axes the array may have, with the leading one; any number from two when empty.

    Raises:
        ArgumentError: if the array has other axes, or holds the whole numbers of stored pictures.
        DataError: if there are fewer than two examples, or a value is not finite.
    """
    values = np.asarray(X)
    allowed = values.ndim >= 2 and (not axes or values.ndim in axes)
    if not allowed:
        wanted = " or ".join(map(str, axes)) if axes else "two or more"
        raise ArgumentError(f"X must have {wanted} axes, the first of examples, got shape {values.shape}")
    if values.dtype.kind in "iub" and values.ndim > 2:
        raise ArgumentError(
            f"X holds pictures of {values.dtype}: scale them as the model gets them, such as "
            "X.astype(np.float32) / 255"
        )
    if values.dtype.kind not in "iubf" and values.dtype.name not in ("bfloat16", "object"):
        raise ArgumentError(f"X must hold real numbers, got {values.dtype}")
    try:
        values = values.astype(np.float64 if values.dtype == np.float64 else np.float32)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"X must hold real numbers: {error}") from error
    if len(values) < 2:
        raise DataError(f"an infiller is fitted to two examples or more, got {len(values)}")
    if not values[0].size:
        raise DataError(f"the examples are empty: X has shape {values.shape}")
    return check_finite("X", values)
