"""How much of a map lies on what is explained, where its exact mask is known."""

from typing import Any

import numpy as np
from jaxtyping import Float

from backthrough.core import DataError
from backthrough.explain.measures.maps import as_maps, as_masks


def relevance_mass(maps: Any, masks: Any, *, distractors: Any = None) -> Float[np.ndarray, "example"]:
    """The part of each map's sum that lies in its mask.

    Arras, Osman and Samek 2022, eq. 1. A map with nothing to share out, as an empty one, gets the mask's
    part of the area, as a constant one does.

    Args:
        maps: Shape (example, height, width); negative values count as 0.
        masks: True on what is explained.
        distractors: True on what should not count. When given, the part is that of the sum over masks and
            distractors, and what lies on neither is left aside.

    Raises:
        ArgumentError: for masks of another shape or type.
        DataError: for maps that are not finite, or an empty mask.

    Example:
        >>> mask = np.array([[[True, False, False]]])
        >>> relevance_mass(np.array([[[3.0, 1.0, -5.0]]]), mask).tolist()
        [0.75]
    """
    array = as_maps(maps)
    inside = as_masks("masks", masks, array)
    _refuse_empty(inside)
    counts = (
        np.ones_like(inside) if distractors is None else inside | as_masks("distractors", distractors, array)
    )
    total = (array * counts).sum(axis=(1, 2))
    mass = (array * inside).sum(axis=(1, 2)) / np.where(total > 0, total, 1)
    return np.where(total > 0, mass, inside.sum(axis=(1, 2)) / counts.sum(axis=(1, 2)))


def relevance_rank(maps: Any, masks: Any) -> Float[np.ndarray, "example"]:
    """Of the K highest places, where the mask has K, the part that lies in the mask.

    Arras, Osman and Samek 2022, eq. 2. Of equal values at the K-th place the expected part counts.

    Args:
        maps: Shape (example, height, width); negative values count as 0.
        masks: True on what is explained.

    Raises:
        ArgumentError: for masks of another shape or type.
        DataError: for maps that are not finite, or an empty mask.

    Example:
        >>> mask = np.array([[[True, True, False, False]]])
        >>> relevance_rank(np.array([[[3.0, 0.0, 1.0, 0.0]]]), mask).tolist()
        [0.5]
    """
    array = as_maps(maps)
    inside = as_masks("masks", masks, array)
    _refuse_empty(inside)
    found = []
    for own, mask in zip(array, inside, strict=True):
        k = int(mask.sum())
        last = np.sort(own, axis=None)[-k]
        above, equal = own > last, own == last
        share = (k - above.sum()) / equal.sum()
        found.append(((above & mask).sum() + share * (equal & mask).sum()) / k)
    return np.array(found)


def _refuse_empty(masks: np.ndarray) -> None:
    is_empty = ~np.any(masks, axis=(1, 2))
    if is_empty.any():
        raise DataError(f"the mask of input {int(np.argmax(is_empty))} is empty: there is nothing to lie on")
