"""Maps as measures take them: relevance that is not negative, one map an input, checked."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from backthrough.core import ArgumentError, check_finite


def as_maps(
    maps: Any, *, canvas: tuple[int, ...] | None = None, signed: bool = False
) -> Float[np.ndarray, "example ..."]:
    """Maps in double precision; negative relevance, which speaks against the score, counts as none.

    Args:
        maps: Shape (example, *canvas).
        canvas: The shape that each must have, where it is known; otherwise a picture's, two axes.
        signed: Whether negative values stay, as they must for a ranking.

    Raises:
        ArgumentError: if they have another shape, or are no real numbers.
        DataError: if a value is not finite.
    """
    array = np.asarray(maps)
    if array.dtype.kind not in "biuf":
        raise ArgumentError(f"maps must be real numbers, got {array.dtype}")
    array = array.astype(np.float64)
    if canvas is None and array.ndim != 3:
        raise ArgumentError(
            f"maps must have shape (example, height, width), maps[None] for one, got {array.shape}"
        )
    if canvas is not None and array.shape[1:] != canvas:
        raise ArgumentError(
            f"maps must have shape (example, {', '.join(map(str, canvas))}), got {array.shape}"
        )
    if not array.size:
        raise ArgumentError(f"maps must not be empty, got shape {array.shape}")
    check_finite("maps", array)
    return array if signed else np.maximum(array, 0)


def as_masks(
    name: str, masks: Any, maps: Float[np.ndarray, "example height width"]
) -> Bool[np.ndarray, "example height width"]:
    """Masks of the maps' shape.

    Raises:
        ArgumentError: if they have another shape or type.
    """
    array = np.asarray(masks)
    if array.dtype != bool:
        raise ArgumentError(f"{name} must be True or False, got {array.dtype}: {name} > 0.5")
    if array.shape != maps.shape:
        raise ArgumentError(f"{name} have shape {array.shape}, and the maps {maps.shape}")
    return array
