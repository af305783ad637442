"""The saliency metric: how small a box is, and how well the class is told from it alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from backthrough.core import ArgumentError
from backthrough.explain.infill.layout import Channels
from backthrough.explain.measures.boxes import as_boxes
from backthrough.explain.problem import make_problem
from backthrough.explain.units import picture_size

LEAST_AREA = 0.05


@dataclass(frozen=True)
class SaliencyMetric:
    """What the metric is made of.

    Attributes:
        area: Of each box, as a part of the picture.
        log_p: log-probability of the class for the crop alone.
    """

    area: Float[np.ndarray, "example"]
    log_p: Float[np.ndarray, "example"]

    @property
    def values(self) -> Float[np.ndarray, "example"]:
        """log(max(area, .05)) - log p(class | crop): small is good."""
        return np.log(np.maximum(self.area, LEAST_AREA)) - self.log_p


def saliency_metric(
    model: Any,
    x: Any,
    boxes: Any,
    *,
    target: int | Sequence[int] | Int[np.ndarray, "example"] | None = None,
    channels: Channels = "last",
) -> SaliencyMetric:
    """Crops each picture to its box, enlarges the crop to the picture's size, and asks the model.

    Dabkowski and Gal 2017, eq. 6. The crop is enlarged bilinearly from its own pixels alone.

    Args:
        model: Anything that `adapt` takes.
        x: Pictures with a leading axis.
        boxes: Shape (example, 4), as from `tight_boxes`; whole pixels, and any part of one counts as all.
        target: A class for all, one for each, or None for what the model predicts of the whole picture.
        channels: Where the channels are, as for `Pixels`.

    Raises:
        ArgumentError: for what are no pictures, boxes outside of them, or whatever `make_problem` refuses.
        DataError: if a box is missing, or its sides cross.

    Example:
        >>> x = np.zeros((1, 10, 10, 1))
        >>> found = saliency_metric(lambda x: jnp.array([0.0, 0.0]), x, [[0.0, 0.0, 2.0, 2.0]], target=0)
        >>> found.values.round(3).tolist()  # log .05 - log .5
        [-2.303]
    """
    problem = make_problem(model, x, target)
    pictures = np.asarray(problem.x)
    height, width = picture_size(pictures.shape[1:], channels)
    true = as_boxes(boxes, len(pictures))
    if true.shape[1] != 1:
        raise ArgumentError(f"the saliency metric takes one box an input, got {true.shape[1]}")
    low, high = np.floor(true[:, 0, :2]).astype(int), np.ceil(true[:, 0, 2:]).astype(int)
    if (low < 0).any() or (high > [width, height]).any():
        raise ArgumentError(f"a box lies outside of pictures of {height} x {width} pixels")
    axis = 1 if channels == "first" else 0
    crops = np.stack(
        [
            enlarged(enlarged(own, axis, y0, y1), axis + 1, x0, x1)
            for own, (x0, y0), (x1, y1) in zip(pictures, low.tolist(), high.tolist(), strict=True)
        ]
    )
    scores = jax.jit(jax.vmap(problem.score))(jnp.asarray(crops), problem.target)
    area = (high - low).prod(axis=1) / (height * width)
    return SaliencyMetric(area, np.asarray(jax.nn.log_sigmoid(scores), float))


def enlarged(picture: Float[np.ndarray, "..."], axis: int, start: int, end: int) -> Float[np.ndarray, "..."]:
    """The places from start to end (exclusive) of one axis, stretched to its whole length, bilinearly."""
    length, n = picture.shape[axis], end - start
    places = np.clip((np.arange(length) + 0.5) * n / length - 0.5, 0, n - 1)
    before = np.floor(places).astype(int)
    after = np.minimum(before + 1, n - 1)
    part = (places - before).reshape(-1, *(1,) * (picture.ndim - axis - 1))
    first, second = (np.take(picture, start + at, axis=axis) for at in (before, after))
    return ((1 - part) * first + part * second).astype(picture.dtype)
