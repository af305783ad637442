"""Two-dimensional distributions to draw from, scaled as those of Grathwohl et al. 2019 (FFJORD)."""

import numpy as np
from jaxtyping import Float

from backthrough.core import check_choice, check_integer

Points = Float[np.ndarray, "point 2"]


def draw_points(name: str, n: int, *, seed: int | list[int]) -> Points:
    """`n` independent points of the distribution `name`; the same for the same seed.

    Raises:
        ArgumentError: for an unknown name, listing those there are.
    """
    check_choice("distribution", name, TOYS)
    check_integer("n", n, minimum=1)
    return TOYS[name](n, np.random.default_rng(seed)).astype(np.float32)


def _eight_gaussians(n: int, random: np.random.Generator) -> Points:
    angle = random.integers(8, size=n) * np.pi / 4
    centre = 4 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return (centre + 0.5 * random.normal(size=(n, 2))) / np.sqrt(2)


def _two_moons(n: int, random: np.random.Generator) -> Points:
    angle = np.pi * random.uniform(size=n)
    upper = random.integers(2, size=n)[:, None]
    first = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    second = np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], axis=1)
    points = np.where(upper, first, second) + 0.1 * random.normal(size=(n, 2))
    return 2 * points + np.array([-1, -0.2])


def _two_circles(n: int, random: np.random.Generator) -> Points:
    angle = 2 * np.pi * random.uniform(size=n)
    radius = np.where(random.integers(2, size=n), 1.0, 0.5)[:, None]
    circle = radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return 3 * (circle + 0.08 * random.normal(size=(n, 2)))


def _pinwheel(n: int, random: np.random.Generator) -> Points:
    arm = random.integers(5, size=n)
    along, across = (random.normal(size=(n, 2)) * np.array([0.3, 0.1]) + np.array([1.0, 0.0])).T
    angle = 2 * np.pi * arm / 5 + 0.25 * np.exp(along)
    turned = [
        along * np.cos(angle) + across * np.sin(angle),
        across * np.cos(angle) - along * np.sin(angle),
    ]
    return 2 * np.stack(turned, axis=1)


def _checkerboard(n: int, random: np.random.Generator) -> Points:
    x = 4 * random.uniform(size=n) - 2
    y = random.uniform(size=n) - 2 * random.integers(2, size=n) + np.floor(x) % 2
    return 2 * np.stack([x, y], axis=1)


TOYS = {
    "8gaussians": _eight_gaussians,
    "moons": _two_moons,
    "circles": _two_circles,
    "pinwheel": _pinwheel,
    "checkerboard": _checkerboard,
}
