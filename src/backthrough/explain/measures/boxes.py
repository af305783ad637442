"""Boxes: of a map, against the box of what is explained; and where the map points."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from backthrough.core import ArgumentError, DataError, check_choice
from backthrough.explain.measures.maps import as_maps

Rule = Literal["mean", "value", "energy"]
LEVELS = {"mean": 1.0, "value": 0.5, "energy": 0.5}


@dataclass(frozen=True)
class Localisation:
    """Boxes of maps beside true ones.

    Attributes:
        boxes: x0, y0, x1, y1 of each map, the last two the first outside.
        overlap: Intersection over union with the true box, the best of several.
    """

    boxes: Float[np.ndarray, "example side"]
    overlap: Float[np.ndarray, "example"]

    @property
    def error(self) -> float:
        """The part of inputs with an overlap of at most one half: the error of weak localisation."""
        return float(np.mean(self.overlap <= 0.5))


def tight_boxes(
    maps: Any, *, threshold: Rule = "mean", level: float | None = None
) -> Float[np.ndarray, "example side"]:
    """The box of the largest connected part of each map that lies above a threshold.

    The three rules are those of Fong and Vedaldi 2017, sec. 5.4; neighbours touch by a side or a corner.
    Where nothing lies above the threshold, as in an empty or a constant map, it is the box of the whole
    picture.

    Args:
        maps: Shape (example, height, width); negative values count as 0.
        threshold: `"mean"`: `level` times the map's mean, 1 by default; `"value"`: where the map, scaled to
            [0, 1], is above `level`, .5 by default; `"energy"`: the highest places that together have at
            least the part `level` of the sum, .5 by default.
        level: See `threshold`.

    Returns:
        x0, y0, x1, y1 in pixels, x to the right and y down; x1 and y1 are the first outside.

    Raises:
        ArgumentError: for another rule, a level that is not positive, or maps of another shape.
        DataError: for maps that are not finite.

    Example:
        >>> tight_boxes(np.eye(4)[None] + np.eye(4, k=1)).tolist()
        [[0.0, 0.0, 4.0, 4.0]]
        >>> tight_boxes(np.pad(np.ones((1, 2, 3)), ((0, 0), (1, 4), (2, 2)))).tolist()
        [[2.0, 1.0, 5.0, 3.0]]
    """
    check_choice("threshold", threshold, tuple(LEVELS))
    level = LEVELS[threshold] if level is None else level
    if not level > 0 or (threshold != "mean" and level >= 1):
        raise ArgumentError(f"level must be positive, and below 1 but for 'mean', got {level}")
    return np.stack([_box(own, _above(own, threshold, level)) for own in as_maps(maps)])


def localisation(
    maps: Any, boxes: Any, *, threshold: Rule = "mean", level: float | None = None
) -> Localisation:
    """Compares the box of each map with a true one, or the best of several.

    Args:
        maps: Shape (example, height, width).
        boxes: Shape (example, 4), or (example, box, 4) with rows of NaN where there are fewer.
        threshold: As for `tight_boxes`.
        level: As for `tight_boxes`.

    Raises:
        ArgumentError: for shapes that do not fit, or whatever `tight_boxes` refuses.
        DataError: if an input has no box, or one whose sides cross.

    Example:
        >>> square = np.pad(np.ones((1, 2, 2)), ((0, 0), (1, 5), (1, 5)))
        >>> localisation(square, [[1.0, 1.0, 5.0, 3.0]]).overlap.tolist()
        [0.5]
    """
    found = tight_boxes(maps, threshold=threshold, level=level)
    true = as_boxes(boxes, len(found))
    return Localisation(found, np.nanmax(overlap(found[:, None], true), axis=1))


def localisation_error(
    maps: Any, boxes: Any, *, threshold: Rule = "mean", level: float | None = None
) -> float:
    """The part of inputs whose box overlaps the true one by at most a half; see `localisation`.

    Example:
        >>> square = np.pad(np.ones((1, 2, 2)), ((0, 0), (1, 5), (1, 5)))
        >>> localisation_error(square, [[1.0, 1.0, 5.0, 3.0]])
        1.0
    """
    return localisation(maps, boxes, threshold=threshold, level=level).error


def pointing_game(maps: Any, boxes: Any, *, tolerance: float = 0.0) -> Float[np.ndarray, "example"]:
    """Whether the map's largest value lies in a true box: 1 or 0, or the part of equal ones that do.

    Zhang et al. 2018, with 15 pixels of tolerance for pictures of some 400. So a constant map gets the
    box's part of the area, as chance does.

    Args:
        maps: Shape (example, height, width).
        boxes: As for `localisation`.
        tolerance: Pixels by which boxes grow.

    Raises:
        ArgumentError: for shapes that do not fit.
        DataError: for maps that are not finite, or inputs without a box.

    Example:
        >>> pointing_game(np.eye(2)[None], [[0.0, 0.0, 1.0, 2.0]]).tolist()
        [0.5]
    """
    array = as_maps(maps)
    true = as_boxes(boxes, len(array))
    height, width = array.shape[1:]
    y, x = np.arange(height)[:, None] + 0.5, np.arange(width)[None] + 0.5
    x0, y0, x1, y1 = (side[..., None, None] for side in np.moveaxis(true, -1, 0))
    inside = (x > x0 - tolerance) & (x < x1 + tolerance) & (y > y0 - tolerance) & (y < y1 + tolerance)
    best = array == array.max(axis=(1, 2), keepdims=True)
    return (best & inside.any(axis=1)).sum(axis=(1, 2)) / best.sum(axis=(1, 2))


def overlap(
    first: Float[np.ndarray, "... side"], second: Float[np.ndarray, "... side"]
) -> Float[np.ndarray, "..."]:
    """Intersection over union of boxes."""
    low, high = np.maximum(first[..., :2], second[..., :2]), np.minimum(first[..., 2:], second[..., 2:])
    both = np.clip(high - low, 0, None).prod(axis=-1)
    areas = [(box[..., 2:] - box[..., :2]).prod(axis=-1) for box in (first, second)]
    return both / (areas[0] + areas[1] - both)


def as_boxes(boxes: Any, n: int) -> Float[np.ndarray, "example box side"]:
    """True boxes, several an input.

    Raises:
        ArgumentError: for another shape.
        DataError: if an input has no box, or one whose sides cross.
    """
    array = np.asarray(boxes, float)
    array = array[:, None] if array.ndim == 2 else array
    if array.ndim != 3 or array.shape[0] != n or array.shape[2] != 4:
        raise ArgumentError(f"boxes must have shape ({n}, 4) or ({n}, box, 4), got {np.shape(boxes)}")
    missing = np.any(np.isnan(array), axis=-1)
    without = np.all(missing, axis=1)
    if np.any(without):
        raise DataError(f"input {int(np.argmax(without))} has no box")
    crossed = np.any(~missing & ~np.all(array[..., 2:] > array[..., :2], axis=-1), axis=1)
    if np.any(crossed):
        row = int(np.argmax(crossed))
        raise DataError(f"a box of input {row} must be x0, y0, x1, y1 with x0 < x1 and y0 < y1")
    return array


def _above(own: Float[np.ndarray, "height width"], threshold: Rule, level: float) -> Bool[np.ndarray, "..."]:
    """The places of a map above its threshold; none of a constant one."""
    low, high = own.min(), own.max()
    if high - low <= 1e-12 * high or high == 0:
        return np.zeros(own.shape, bool)
    if threshold == "mean":
        return own > level * own.mean()
    if threshold == "value":
        return own > low + level * (high - low)
    falling = np.sort(own, axis=None)[::-1]
    last = int(np.searchsorted(np.cumsum(falling), level * falling.sum()))
    return own >= falling[min(last, falling.size - 1)]


def _box(
    own: Float[np.ndarray, "height width"], part: Bool[np.ndarray, "height width"]
) -> Float[np.ndarray, "side"]:
    """The box of the largest connected part, of equal ones that with more relevance."""
    height, width = own.shape
    if not part.any():
        return np.array([0.0, 0.0, width, height])
    labels = np.empty(part.shape, np.int32)
    ndimage.label(part, np.ones((3, 3)), labels)
    sizes = np.bincount(labels.reshape(-1))[1:]
    sums = np.bincount(labels.reshape(-1), weights=own.reshape(-1))[1:]
    rows, columns = np.nonzero(labels == 1 + np.lexsort((sums, sizes))[-1])
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], float)
