"""Published figures of the benchmark: Zhang et al. 2018, Table 1, as recalled; not checked against its text.

The paper draws ten random splits of its own, and its naval target is another column of the file.
"""

from typing import NamedTuple


class Published(NamedTuple):
    """Means over splits, in the units of the table; nats."""

    rmse: float
    log_likelihood: float


FIGURES = {
    "boston-housing": {
        "bayes-by-backprop": (3.171, -2.602),
        "noisy-adam": (3.031, -2.558),
        "noisy-kfac": (2.742, -2.446),
    },
    "concrete": {
        "bayes-by-backprop": (5.678, -3.149),
        "noisy-adam": (5.613, -3.145),
        "noisy-kfac": (5.019, -3.039),
    },
    "energy": {
        "bayes-by-backprop": (0.565, -1.500),
        "noisy-adam": (0.839, -1.629),
        "noisy-kfac": (0.485, -1.421),
    },
    "kin8nm": {
        "bayes-by-backprop": (0.080, 1.111),
        "noisy-adam": (0.079, 1.112),
        "noisy-kfac": (0.076, 1.148),
    },
    "power-plant": {
        "bayes-by-backprop": (4.023, -2.807),
        "noisy-adam": (4.002, -2.803),
        "noisy-kfac": (3.886, -2.776),
    },
    "protein-tertiary-structure": {
        "bayes-by-backprop": (4.321, -2.882),
        "noisy-adam": (4.380, -2.896),
        "noisy-kfac": (4.097, -2.836),
    },
    "wine-quality-red": {
        "bayes-by-backprop": (0.643, -0.977),
        "noisy-adam": (0.644, -0.976),
        "noisy-kfac": (0.637, -0.969),
    },
    "yacht": {
        "bayes-by-backprop": (1.174, -2.408),
        "noisy-adam": (1.289, -2.412),
        "noisy-kfac": (0.979, -2.316),
    },
}


def published(data: str, method: str) -> Published | None:
    """The paper's figures for a method on a table, if it has them."""
    found = FIGURES.get(data, {}).get(method)
    return None if found is None else Published(*found)
