"""Checks of the parameters that a distribution brings."""

import warnings

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from backthrough.core import ArgumentError, check_positive

SLACK = 1e-5  # probabilities may miss a sum of 1 by this


def parameter(name: str, values: object) -> Float[Array, "..."]:
    """The array of a parameter.

    Raises:
        ArgumentError: if it is not of a floating-point type, of one below half precision, or is empty.
    """
    array = jnp.asarray(values)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise ArgumentError(
            f"{name} must be floating-point numbers to have gradients, got {array.dtype}; convert them with "
            "jnp.asarray(..., float)"
        )
    if array.dtype.itemsize < 2:
        raise ArgumentError(
            f"{name} must be of half precision at the least, got {array.dtype}, in which gradients would be "
            "rounded away; convert them with jnp.asarray(..., jnp.bfloat16)"
        )
    if array.size == 0:
        raise ArgumentError(f"{name} is empty, shape {array.shape}: there is no variable to sample")
    return array


def at_least_single(values: Float[Array, "..."]) -> Float[Array, "..."]:
    """The values, those of half precision in single precision."""
    return values.astype(jnp.promote_types(values.dtype, jnp.float32))


def check_probabilities(name: str, probs: Float[Array, "..."], *, sum_to_one: bool = False) -> None:
    """Refuses values outside [0, 1], or rows that do not sum to 1. Values inside jit cannot be seen.

    Raises:
        ArgumentError: naming the first of them.
    """
    values = concrete(probs)
    if values is None:
        return
    bad = ~((values >= 0) & (values <= 1))
    if bad.any():
        raise ArgumentError(
            f"{name} must lie in [0, 1], got {values[bad][0]:.6g}; unbounded numbers are given as logits=..."
        )
    if sum_to_one:
        sums = values.sum(-1)
        off = np.abs(sums - 1) > SLACK * values.shape[-1]
        if off.any():
            raise ArgumentError(f"{name} must sum to 1 over the last axis, got {sums[off][0]:.6g}")


def check_categories(name: str, logits: Float[Array, "..."]) -> None:
    """Refuses logits without an axis of categories; warns of a single category, which is no choice."""
    if logits.ndim == 0:
        raise ArgumentError(f"{name} needs logits with a last axis of categories, got a scalar")
    if logits.shape[-1] == 1:
        warnings.warn(f"{name} has one category, so nothing is random and gradients are zero", stacklevel=2)


def check_temperature(value: object, *, minimum: float | None = None) -> None:
    """Refuses a temperature that is not above 0, or below `minimum`. Values inside jit cannot be seen."""
    seen = concrete(value)
    if seen is not None and check_positive("temperature", seen) < (minimum or 0):
        raise ArgumentError(f"temperature must be at least {minimum:g} here, got {float(seen):g}")


def concrete(values: object) -> np.ndarray | None:
    """The values on the host, or None inside a transformation, where they cannot be seen."""
    return None if isinstance(values, Tracer) else np.asarray(values)
