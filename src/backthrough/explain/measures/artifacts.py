"""Artifacts of maps: how far they are from one coherent part.

Maps are said to have artifacts when their relevance is scattered: salt and pepper, specks, fringes, holes.
What all of these have is border. So the measure is the border of the map, against the least border that its
values could have.

For a set of places the border is the number of sides between a place that is in it and a place that is not
(what lies outside of the picture is not). A map is the stack of its sets {map > t}, and by the coarea
formula the sum of their borders over all t is the map's total variation. Of k places the least border is
exactly 2 ceil(2 sqrt(k)), that of a square spiral (Harary and Harborth 1976). So with the values in falling
order, v_1 >= v_2 >= ..., the least total variation of any arrangement of them is

    sum over k of (v_k - v_(k+1)) 2 ceil(2 sqrt(k)),

which nested squares attain. The measure is one less the ratio of the two: 0 for one compact part, however
it fades, and near 1 for noise. Two equal parts far apart have 1 - 1 / sqrt(2) = .29, a hundred specks .9.

Why this one: it has no threshold and no parameter; it does not change when a map is multiplied or shifted;
the area of the part, which compactness measures, does not enter; and, unlike the number of connected parts,
it does not jump when a thin bridge joins two of them. What it does not say: thin objects have much border
themselves, so beside a map's value that of the true mask should be read; and pictures off the manifold,
which a poor infiller makes, are seen in the score after deletion, not here.
"""

from typing import Any

import numpy as np
from jaxtyping import Float

from backthrough.explain.measures.maps import as_maps


def scatter(maps: Any) -> Float[np.ndarray, "example"]:
    """The part of each map's border that one compact part of the same values would not have, in [0, 1).

    Args:
        maps: Shape (example, height, width); negative values count as 0, and the least value as the ground. A
            map without relief, as an empty or a constant one, has 0.

    Raises:
        ArgumentError: for maps of another shape.
        DataError: for maps that are not finite.

    Example:
        >>> square, checks = np.zeros((2, 8, 8))
        >>> square[2:6, 2:6] = 1
        >>> checks[::2, ::2] = 1
        >>> scatter([square, checks]).tolist()
        [0.0, 0.75]
    """
    array = as_maps(maps)
    array = array - array.min(axis=(1, 2), keepdims=True)
    border = total_variation(array)
    least = least_variation(array)
    return np.clip(1 - least / np.where(border > 0, border, 1), 0, 1) * (border > 0)


def total_variation(maps: Float[np.ndarray, "example height width"]) -> Float[np.ndarray, "example"]:
    """The sum of absolute differences across all sides of places; outside of the picture is 0."""
    around = np.pad(maps, ((0, 0), (1, 1), (1, 1)))
    down, across = (np.abs(np.diff(around, axis=axis)).sum(axis=(1, 2)) for axis in (1, 2))
    return down + across


def least_variation(maps: Float[np.ndarray, "example height width"]) -> Float[np.ndarray, "example"]:
    """The least total variation that the values of each map could have on an unbounded grid."""
    falling = -np.sort(-maps.reshape(len(maps), -1), axis=1)
    steps = falling - np.pad(falling[:, 1:], ((0, 0), (0, 1)))
    k = np.arange(1, falling.shape[1] + 1)
    return steps @ (2 * np.ceil(2 * np.sqrt(k)))
