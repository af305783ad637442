"""Noisy spirals in the plane, each observed at irregular times of its own (Chen et al. 2018, sec. 5.1)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from backthrough.latent import Observations, pad_series

LENGTH = 100  # grid steps of a window, and of its continuation
NOISE = 0.3
GRID = 1000


class Spirals(NamedTuple):
    """Windows of spirals and what comes after them; time runs from 0 to 1 over a window.

    Attributes:
        seen: The noisy observations of each window.
        truth: The true curve on the grid of window and continuation, shape (spiral, LENGTH + ahead, 2).
        times: The times of the grid.
    """

    seen: Observations
    truth: Float[np.ndarray, "spiral time 2"]
    times: Float[np.ndarray, "time"]


def draw_spirals(n: int, n_points: int, *, ahead: int = 0, seed: int | Sequence[int]) -> Spirals:
    """Half of them clockwise, as torchdiffeq's example makes them.

    Counter-clockwise r = 0.3 theta about (5, 0), clockwise r = 15 / (6 pi + 1 - theta) about (-5, 0), on a
    grid of 1,000 angles from 0 to 6 pi. A window begins anywhere where it and its continuation, `ahead` grid
    steps, stay on the grid; each spiral keeps its own random `n_points` of the 100 times. To learn
    how they go on, train on windows without a continuation, which reach the end of the grid: a clockwise
    spiral becomes three times as wide over its last hundred steps.
    """
    generator = np.random.default_rng(seed)
    theta = np.linspace(0, 6 * np.pi, GRID)
    outward, inward = 0.3 * theta, 0.3 * 50 / (6 * np.pi + 1 - theta)
    curves = [
        np.stack([outward * np.cos(theta) + 5.0, outward * np.sin(theta)], axis=1),
        np.stack([inward * np.cos(-theta) - 5.0, inward * np.sin(-theta)], axis=1),
    ]
    times = np.arange(LENGTH + ahead) / LENGTH
    truth, all_times, values = [], [], []
    for index in range(n):
        start = generator.integers(0, GRID - LENGTH - ahead)
        curve = curves[index % 2][start : start + LENGTH + ahead]
        noisy = curve[:LENGTH] + NOISE * generator.normal(size=(LENGTH, 2))
        kept = np.sort(generator.choice(LENGTH, n_points, replace=False))
        truth.append(curve)
        all_times.append(times[kept])
        values.append(noisy[kept])
    return Spirals(pad_series(all_times, values), np.stack(truth).astype(np.float32), times)
