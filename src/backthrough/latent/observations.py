"""A series that was observed at times of its own, with gaps; many of them as one batch."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float

from backthrough.core import ArgumentError, DataError


class Observations(NamedTuple):
    """One series, or a batch of them along a leading axis.

    Attributes:
        times: In increasing order. Entries that repeat the last time with nothing observed are padding.
        values: Of every channel at every time; where nothing was observed any number, NaN too.
        mask: Whether the channel was observed at that time.
    """

    times: Float[Array | np.ndarray, "*batch time"]
    values: Float[Array | np.ndarray, "*batch time channel"]
    mask: Bool[Array | np.ndarray, "*batch time channel"]


def pad_series(
    times: Sequence[Float[np.ndarray, "_"]],
    values: Sequence[Float[np.ndarray, "_ _"]],
    *,
    length: int | None = None,
) -> Observations:
    """Series of different lengths as one batch; a NaN is what was not observed.

    Args:
        times: The times of each series, strictly increasing.
        values: For each series one row a time and one column a channel.
        length: Times of a padded series; those of the longest one by default.

    Returns:
        A batch in float32, on the host.

    Raises:
        ArgumentError: if there is no series, or `length` is too short.
        DataError: naming the series whose times do not increase, whose shapes do not fit, that has an
            infinite value, or in which nothing was observed.

    Examples:
        >>> batch = pad_series(
        ...     [np.array([0.0, 1.0]), np.array([0.5])], [np.array([[3.0], [np.nan]]), np.array([[4.0]])]
        ... )
        >>> batch.times.tolist(), batch.mask[..., 0].tolist()
        ([[0.0, 1.0], [0.5, 0.5]], [[True, False], [True, False]])
    """
    if not times or len(times) != len(values):
        raise ArgumentError(f"pad_series needs as many times as values, got {len(times)} and {len(values)}")
    n_channels = values[0].shape[1]
    for index, (own, rows) in enumerate(zip(times, values, strict=True)):
        if rows.shape != (len(own), n_channels):
            raise DataError(
                f"series {index} has {len(own)} times and values of shape {rows.shape}; expected "
                f"({len(own)}, {n_channels})"
            )
        if not np.isfinite(own).all() or (np.diff(own.astype(np.float32)) <= 0).any():
            raise DataError(f"the times of series {index} must be finite and strictly increasing")
        if np.isinf(rows).any():
            raise DataError(f"series {index} has an infinite value")
        if not np.isfinite(rows).any():
            raise DataError(f"series {index} has no observation at all")
    longest = max(map(len, times))
    length = longest if length is None else length
    if length < longest:
        raise ArgumentError(f"length must be at least {longest}, that of the longest series, got {length}")
    out = Observations(
        np.zeros((len(times), length), np.float32),
        np.zeros((len(times), length, n_channels), np.float32),
        np.zeros((len(times), length, n_channels), bool),
    )
    for index, (own, rows) in enumerate(zip(times, values, strict=True)):
        out.times[index] = own[-1]
        out.times[index, : len(own)] = own
        out.mask[index, : len(own)] = np.isfinite(rows)
        out.values[index, : len(own)] = np.nan_to_num(rows)
    return out
