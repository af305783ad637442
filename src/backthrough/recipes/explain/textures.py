"""Backgrounds that look like brick, grass and gravel, made from filtered noise: no photographs are needed."""

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter

from backthrough.core import check_choice, check_integer

TEXTURES = ("brick", "grass", "gravel")
COURSE, BRICK, JOINT = 8, 16, 1  # pixels: height and length of a brick, and the mortar between two


def texture(kind: str, side: int, generator: np.random.Generator) -> Float[np.ndarray, "side side"]:
    """A square of one kind, with mean 0 and standard deviation 1.

    Args:
        kind: `"brick"`, courses of bricks with a grey level each, joints between them and coarse noise on
            top; `"grass"`, noise smoothed far more along the vertical than across, so blades; `"gravel"`,
            noise of one scale (a difference of two Gaussian filters), so grains.
        side: Pixels.
        generator: Draws the noise.

    Raises:
        ArgumentError: for another kind, or a side below 1.

    Example:
        >>> texture("grass", 48, np.random.default_rng(0)).shape
        (48, 48)
    """
    check_choice("kind", kind, TEXTURES)
    check_integer("side", side, minimum=1)
    noise = generator.standard_normal((side, side))
    if kind == "grass":
        found = gaussian_filter(noise, (4.0, 0.7), mode="wrap")
    elif kind == "gravel":
        found = gaussian_filter(noise, 1.0, mode="wrap") - gaussian_filter(noise, 2.5, mode="wrap")
    else:
        found = _bricks(side, generator) + _standardised(gaussian_filter(noise, 1.0, mode="wrap")) / 2
    return _standardised(found)


def _bricks(side: int, generator: np.random.Generator) -> Float[np.ndarray, "side side"]:
    """A grey level for each brick, every second course moved by half a brick, and dark joints."""
    rows, columns = np.indices((side, side))
    course = rows // COURSE
    along = columns + (course % 2) * (BRICK // 2)
    levels = generator.standard_normal((side // COURSE + 1, side // BRICK + 2))
    is_joint = (rows % COURSE < JOINT) | (along % BRICK < JOINT)
    return np.where(is_joint, -2.5, levels[course, along // BRICK])


def _standardised(values: Float[np.ndarray, "side side"]) -> Float[np.ndarray, "side side"]:
    return (values - values.mean()) / max(float(values.std()), 1e-12)
