"""Values that are looked at while a compiled program runs, where nothing can be seen before."""

import contextlib
import re
from collections.abc import Callable, Iterator
from functools import partial

import jax
import numpy as np
from jaxtyping import Array, Float

from backthrough.core import ArgumentError


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def watched(check: Callable[[np.ndarray], None], values: Float[Array, "..."]) -> Float[Array, "..."]:
    """The values, unchanged, once `check` has seen them on the host; under `vmap` the whole batch at once."""
    return values * _look(check, values)


@watched.defjvp
def _watched_jvp(check: Callable, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    one = _look(check, primals[0])  # in the tangent too: often nothing else of the value is needed
    return primals[0] * one, tangents[0] * one


def _look(check: Callable[[np.ndarray], None], values: Float[Array, "..."]) -> Float[Array, "..."]:
    """Ones, for a compiler that would leave the call out if nothing came of it."""

    def call(batch: Array) -> np.ndarray:
        seen = np.asarray(batch)
        check(seen)
        return np.ones_like(seen)

    shape = jax.ShapeDtypeStruct(values.shape, values.dtype)
    return jax.pure_callback(call, shape, values, vmap_method="broadcast_all")


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """Raises what was refused on the host as it was; JAX shows it at the end of a long error of its own.

    Only what runs at once is caught here: a compiled program raises where its caller waits for it.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        found = re.search(r"^[\w.]*ArgumentError: (.*)", str(error), re.MULTILINE | re.DOTALL)
        if found is None:
            raise
        raise ArgumentError(found[1].strip()) from error


def check_value_of_f(values: np.ndarray) -> None:
    """Refuses a value that is not finite.

    Raises:
        ArgumentError: naming the first of the samples where it is so.
    """
    values = np.atleast_1d(values)
    bad = ~np.isfinite(values)
    if bad.any():
        at = np.argwhere(bad)[0].tolist()
        place = f"{at[0]} of {len(values)}" if len(at) == 1 else f"{tuple(at)} of {values.shape}"
        raise ArgumentError(f"f returned {values[tuple(at)]} for sample {place}")


def check_parameter(name: str, values: np.ndarray) -> None:
    """Refuses a parameter that is not a number.

    Raises:
        ArgumentError: naming the distribution and the entry.
    """
    bad = np.isnan(values)
    if bad.any():
        at = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ArgumentError(
            f"a parameter of {name} is nan at entry {at}: what computes it failed, or probabilities lie "
            "outside [0, 1]"
        )
