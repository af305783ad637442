"""Elementary functions that stay exact where the textbook form overflows or cancels."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def log_odds(p: Float[Array, "..."]) -> Float[Array, "..."]:
    """log(p / (1 - p)), the inverse of the logistic function; -inf at 0, inf at 1."""
    return jnp.log(p) - jnp.log1p(-p)


def log1mexp(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """log(1 - exp(-x)) for x >= 0, exact for small and for large x; -inf at 0.

    Uses log(-expm1(-x)) below log 2 and log1p(-exp(-x)) above (Maechler 2012). The gradient is finite for
    every x > 0 because neither branch is evaluated where it would cancel.
    """
    small = x < math.log(2.0)
    low = jnp.where(small, x, 1.0)
    high = jnp.where(small, 1.0, x)
    return jnp.where(small, jnp.log(-jnp.expm1(-low)), jnp.log1p(-jnp.exp(-high)))


def log_mean_exp(
    values: Float[Array, "..."], axis: int | tuple[int, ...] | None = None
) -> Float[Array, "..."]:
    """log of the mean of exp(values) over `axis`, without overflow.

    This is the log of an importance-sampling estimate when `values` are log-weights
    (Burda et al. 2015, eq. 8).
    """
    axes = range(values.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    count = math.prod(values.shape[a] for a in axes)
    return jax.nn.logsumexp(values, axis=axis) - math.log(count)


def safe_norm(x: Float[Array, "..."], axis: int | None = None) -> Float[Array, "..."]:
    """Euclidean norm over `axis` (all axes when None) whose gradient at zero is zero, not NaN."""
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(x), axis=axis, keepdims=True))
    scale = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1.0)
    squares = jnp.sum(jnp.square(x / scale), axis=axis, keepdims=True)
    nonzero = squares != 0  # true for NaN, which must stay NaN
    root = jnp.sqrt(jnp.where(nonzero, squares, 1.0))
    norm = jnp.where(nonzero, root * scale, 0.0)
    return jnp.squeeze(norm, axis=axis)
