"""Checks of arguments and of host values, made at the front doors before anything compiles."""

import difflib
import operator
from collections.abc import Iterable

import numpy as np

from backthrough.core.errors import ArgumentError, DataError


def check_integer(name: str, value: object, *, minimum: int) -> int:
    """Returns `value` as an int, or raises `ArgumentError` naming the argument and what is allowed."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise ArgumentError(f"{name} must be a whole number, got {value!r}") from None
    if isinstance(value, (bool, np.bool_)):
        raise ArgumentError(f"{name} must be a whole number, got {value!r}")
    if number < minimum:
        raise ArgumentError(f"{name} must be at least {minimum}, got {number}")
    return number


def check_positive(name: str, value: object) -> float:
    """Returns `value` as a float, or raises `ArgumentError` unless it is finite and above zero."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ArgumentError(f"{name} must be a number, got {value!r}") from None
    if not (np.isfinite(number) and number > 0):
        raise ArgumentError(f"{name} must be finite and greater than zero, got {value!r}")
    return number


def check_key(key: object) -> None:
    """Raises `ArgumentError` unless `key` is one typed random key."""
    import jax  # here, so that wrong use is refused before JAX is imported
    import jax.numpy as jnp

    if not (
        isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.shape == ()
    ):
        raise ArgumentError(f"key must be one typed key made by jax.random.key(seed), got {key!r}")


def check_choice(name: str, value: str, allowed: Iterable[str]) -> str:
    """Returns `value` if it is one of `allowed`, or raises `ArgumentError` with the nearest name."""
    allowed = list(allowed)
    if value in allowed:
        return value
    lower = {name.lower(): name for name in reversed(allowed)}
    nearest = [lower[name] for name in difflib.get_close_matches(str(value).lower(), lower, n=1, cutoff=0.5)]
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    raise ArgumentError(f"unknown {name} {value!r}{hint} (known: {', '.join(allowed)})")


def check_unit_interval(name: str, values: np.ndarray) -> np.ndarray:
    """Returns `values`, or raises `DataError` naming the first entry that is not in [0, 1].

    Used before a Bernoulli likelihood, which has no meaning elsewhere.
    """
    values = np.asarray(values)
    if values.size == 0:
        raise DataError(f"{name} is empty")
    bad = ~((values >= 0) & (values <= 1))
    if bad.any():
        index = tuple(int(i) for i in np.argwhere(bad)[0])
        hint = " (divide 8-bit grey levels by 255)" if 1 < values[index] <= 255 else ""
        raise DataError(
            f"{name} must lie in [0, 1] for a Bernoulli likelihood, but entry {index} is "
            f"{values[index]}{hint}"
        )
    return values


def check_binary(name: str, values: np.ndarray) -> np.ndarray:
    """Returns `values`, or raises `DataError` naming the first entry that is neither 0 nor 1.

    Used where a Bernoulli likelihood is reported: that of grey levels between them is none.
    """
    values = np.asarray(values)
    bad = (values != 0) & (values != 1)
    if bad.any():
        index = tuple(int(i) for i in np.argwhere(bad)[0])
        raise DataError(
            f"{name} must be 0 or 1 for a Bernoulli likelihood, but entry {index} is {values[index]}; draw "
            "grey levels in [0, 1] as bits first, with jax.random.bernoulli(key, x)"
        )
    return values


def check_finite(name: str, values: np.ndarray) -> np.ndarray:
    """Returns `values`, or raises `DataError` naming the first entry that is NaN or infinite."""
    values = np.asarray(values)
    bad = ~np.isfinite(values)
    if bad.any():
        index = tuple(int(i) for i in np.argwhere(bad)[0])
        raise DataError(f"{name} must be finite, but entry {index} is {values[index]}")
    return values
