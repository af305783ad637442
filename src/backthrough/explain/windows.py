"""Windows: sets of neighbouring units at several scales, with which the search begins."""

import itertools

import numpy as np
from jaxtyping import Bool, Float

SCALES = (1 / 32, 1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2, 5 / 8, 3 / 4)  # of the sides
MOST = 256


def windows(centres: Float[np.ndarray, "unit axis"], *, most: int = MOST) -> Bool[np.ndarray, "window unit"]:
    """Boxes of several sizes and places, each as the units whose centres lie in it; all of them different.

    Units without an order, the columns of a table, are each one for itself.

    Args:
        centres: Where units lie in [0, 1] along each axis.
        most: How many windows there are at most; small ones are left out first.
    """
    n_units, n_axes = centres.shape
    if not n_axes:
        return np.eye(n_units, dtype=bool)
    found: dict[bytes, np.ndarray] = {}
    for scale in reversed(SCALES):
        n = max(2, round(2 * (1 - scale) / scale) + 1)
        starts = np.linspace(0, 1 - scale, n)
        level: dict[bytes, np.ndarray] = {}
        for corner in itertools.product(starts, repeat=n_axes):
            low = np.asarray(corner) - 1e-9
            inside = np.all((centres >= low) & (centres < low + scale + 2e-9), axis=1)
            if inside.any() and not inside.all():
                level.setdefault(np.packbits(inside).tobytes(), inside)
        fresh = {mark: inside for mark, inside in level.items() if mark not in found}
        if len(found) + len(fresh) > most:
            break
        found |= fresh
    return np.stack(list(found.values())) if found else np.eye(n_units, dtype=bool)
