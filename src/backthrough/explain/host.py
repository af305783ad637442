"""Models that live on the host, such as a forest: called with whole batches, refused if they are not pure."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from backthrough.core import ArgumentError

PURE_TOLERANCE = 1e-3


class HostFunction(eqx.Module):
    """A function of the host as one of a single example; under `vmap`, also nested, it is called once.

    Attributes:
        function: Maps a batch to outputs.
        n_outputs: How many each example has.
        name: Whom errors name.
    """

    function: Callable[[np.ndarray], Any] = eqx.field(static=True)
    n_outputs: int = eqx.field(static=True)
    name: str = eqx.field(static=True)

    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "output"]:
        """The outputs of one example.

        Raises:
            ArgumentError: if it is differentiated.
        """
        dtype = jnp.promote_types(x.dtype, jnp.float32)
        return _called(self.function, self.n_outputs, self.name, x).astype(dtype)


@eqx.filter_custom_jvp
def _called(function: Callable, n_outputs: int, name: str, x: Array) -> Array:
    ndim = x.ndim

    def call(batched: Any) -> np.ndarray:  # JAX hands over an array of its own
        rows = np.asarray(batched)
        batch = rows.shape[: rows.ndim - ndim]
        found = call_host(function, rows.reshape(-1, *rows.shape[len(batch) :]), name)
        if found.shape[1] != n_outputs:
            raise ArgumentError(f"{name} returned {found.shape[1]} outputs, and {n_outputs} before")
        return found.astype(np.float32).reshape(*batch, n_outputs)

    shape = jax.ShapeDtypeStruct((n_outputs,), jnp.float32)
    return jax.pure_callback(call, shape, x, vmap_method="broadcast_all")


@_called.def_jvp
def _no_derivative(primals: Any, tangents: Any) -> Any:
    raise ArgumentError(
        f"the derivative of {primals[2]} was asked for, and there is none. Use an estimator that needs only "
        "values: LeaveOneOut(), DisARM(), or RELAX without a temperature"
    )


def call_host(
    function: Callable[[np.ndarray], Any], rows: Shaped[np.ndarray, "row ..."], name: str
) -> Float[np.ndarray, "row output"]:
    """What a function of the host returns for a batch.

    Raises:
        ArgumentError: if it raises, or returns anything but finite numbers of shape (row, output).
    """
    try:
        found = np.asarray(function(rows))
    except Exception as error:
        raise ArgumentError(
            f"{name}, called with examples of shape {rows.shape}, raised {type(error).__name__}: {error}"
        ) from error
    if found.dtype.kind not in "biuf":
        raise ArgumentError(f"{name} must return real numbers, got {found.dtype}")
    if found.ndim != 2 or len(found) != len(rows):
        cure = "; of one number an example make a column: values[:, None]" if found.ndim == 1 else ""
        raise ArgumentError(
            f"{name} must return outputs of shape ({len(rows)}, output) for {len(rows)} examples, got shape "
            f"{found.shape}{cure}"
        )
    if not np.isfinite(found).all():
        row = int(np.argmax(~np.isfinite(found).all(axis=1)))
        raise ArgumentError(f"{name} returned {found[row]} for example {row} of {len(rows)}")
    return found


def check_pure(
    function: Callable[[np.ndarray], Any], rows: np.ndarray, outputs: np.ndarray, name: str
) -> None:
    """Refuses a function whose outputs for an example change with the call, or with its companions."""
    again = call_host(function, np.concatenate([rows[-1:], rows]), name)[1:]
    away = np.abs(again - outputs).max()
    if away > PURE_TOLERANCE * max(1.0, float(np.abs(outputs).max())):
        raise ArgumentError(
            f"{name} gives other outputs for the same examples in another call or batch (largest difference "
            f"{away:.3g}): it must be a pure function of each example"
        )
