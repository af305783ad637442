"""Windows: sets of units with which the search begins."""

import itertools
import math

import numpy as np
from jaxtyping import Bool, Float

SCALES = (1 / 32, 1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2, 5 / 8, 3 / 4)  # of the sides
MOST = 256


def windows(centres: Float[np.ndarray, "unit axis"], *, most: int = MOST) -> Bool[np.ndarray, "window unit"]:
    """Sets of units to begin with, all of them different: boxes where units have places, else small sets.

    Boxes are of several sizes and at places half a side apart, each as the units whose centres lie in it;
    where they are too many the small ones are left out. Without places, as of a table's columns, they are
    single units, all but one, pairs, all but two, and so on; all sets there are of up to eight units.

    Args:
        centres: Where units lie in [0, 1] along each axis.
        most: How many windows there are at most, but never fewer than single units of a table.
    """
    return boxes(centres, most) if centres.shape[1] else small_sets(len(centres), most)


def boxes(centres: Float[np.ndarray, "unit axis"], most: int) -> Bool[np.ndarray, "window unit"]:
    """Boxes of neighbours, the largest first."""
    found: dict[bytes, np.ndarray] = {}
    for scale in reversed(SCALES):
        n = max(2, round(2 * (1 - scale) / scale) + 1)
        starts = np.linspace(0, 1 - scale, n)
        level: dict[bytes, np.ndarray] = {}
        for corner in itertools.product(starts, repeat=centres.shape[1]):
            low = np.asarray(corner) - 1e-9
            inside = np.all((centres >= low) & (centres < low + scale + 2e-9), axis=1)
            if inside.any() and not inside.all():
                level.setdefault(np.packbits(inside).tobytes(), inside)
        fresh = {mark: inside for mark, inside in level.items() if mark not in found}
        if len(found) + len(fresh) > most:
            break
        found |= fresh
    return np.stack(list(found.values())) if found else np.eye(len(centres), dtype=bool)


def small_sets(n_units: int, most: int) -> Bool[np.ndarray, "window unit"]:
    """Sets of one unit, and of all but one, of two, and of all but two, as far as there is room."""
    found = list(np.eye(n_units, dtype=bool))
    for size in range(1, n_units // 2 + 1):
        for is_left_out in (False, True):
            own = n_units - size if is_left_out else size
            if own == 1 or (is_left_out and own == size):
                continue
            if len(found) + math.comb(n_units, size) > most:
                return np.stack(found)
            for chosen in itertools.combinations(range(n_units), size):
                inside = np.full(n_units, is_left_out)
                inside[list(chosen)] = not is_left_out
                found.append(inside)
    return np.stack(found)
