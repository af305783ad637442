"""Windows of photographs of blood cells: is there a white cell, and where."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Shaped

from backthrough.core import check_choice
from backthrough.datasets import Arrays

SIDE = 32  # pixels of a window, after the photographs are halved
WHITE, WHOLE, TRIES = 1, 0.95, 60
SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Windows:
    """Windows with or without a white cell.

    Attributes:
        images: In [-1, 1], channels last.
        labels: 1 where exactly one white cell lies in the window with 95 % of its box, 0 where it touches
            none. Three photographs of the test split have white cells that nobody marked, so a few zeros
            are wrong.
        boxes: x0, y0, x1, y1 of that cell in pixels of the window (x to the right, y down); NaN without one.
        photograph: Which one each window was cut from.
    """

    images: Float[np.ndarray, "window height width channel"]
    labels: Int[np.ndarray, "window"]
    boxes: Float[np.ndarray, "window side"]
    photograph: Int[np.ndarray, "window"]


def cut_windows(cells: Arrays, split: str, *, n_each: int, seed: int) -> Windows:
    """Cuts windows of 32 x 32 from halved photographs: of each as many of either label, as far as there are.

    Args:
        cells: The data set `bccd-wbc`.
        split: `"train"`, `"valid"` or `"test"`; windows of a photograph are all in one.
        n_each: Windows of each label that a photograph gives at most.
        seed: Determines the places.
    """
    check_choice("split", split, SPLITS)
    arrays = cells.arrays
    photographs = halved(arrays["images"])
    boxes = arrays["boxes"]
    found = []
    for photograph in np.flatnonzero(arrays["split"] == SPLITS.index(split)):
        own = boxes[(boxes[:, 0] == photograph) & (boxes[:, 1] == WHITE), 2:] / 2
        generator = np.random.default_rng([seed, int(photograph)])
        height, width = photographs.shape[1:3]
        left = {0: n_each, 1: n_each}
        for _ in range(TRIES * n_each):
            x, y = (int(generator.integers(0, size - SIDE + 1)) for size in (width, height))
            inside = _inside(own, x, y)
            touched = inside > 0
            whole = inside >= WHOLE
            label = 1 if touched.sum() == 1 and whole.sum() == 1 else 0 if not touched.any() else None
            if label is None or not left[label]:
                continue
            left[label] -= 1
            box = np.full(4, np.nan)
            if label:
                box = np.clip(own[np.argmax(whole)] - [x, y, x, y], 0, SIDE)
            found.append((photographs[photograph, y : y + SIDE, x : x + SIDE], label, box, photograph))
    images, labels, places, photograph = zip(*found, strict=True)
    return Windows(np.stack(images), np.array(labels), np.stack(places), np.array(photograph))


def small_windows(cells: Arrays) -> Windows:
    """The windows of the data set `cell-windows-small`, which comes with the package."""
    arrays = cells.arrays
    images = arrays["images"].astype(np.float32) / 127.5 - 1
    return Windows(images, arrays["labels"].astype(int), arrays["boxes"], arrays["photograph"])


def thinned(windows: Windows) -> Float[np.ndarray, "window height width channel"]:
    """The images without a white cell, and half as many with one: what an infiller is trained on.

    Where many have a white cell, a faint one is the best guess for what a large hole hides.
    """
    order = np.random.default_rng(0).permutation(len(windows.labels))
    without, with_one = (order[windows.labels[order] == label] for label in (0, 1))
    return windows.images[np.concatenate([without, with_one[: len(without) // 2]])]


def halved(images: Shaped[np.ndarray, "photograph height width channel"]) -> Float[np.ndarray, "..."]:
    """Means of 2 x 2 pixels, from bytes to [-1, 1]."""
    n, height, width, channels = images.shape
    parts = images.reshape(n, height // 2, 2, width // 2, 2, channels).astype(np.float32)
    return parts.mean(axis=(2, 4)) / 127.5 - 1


def _inside(boxes: np.ndarray, x: int, y: int) -> np.ndarray:
    """The part of each box's area that lies in the window."""
    across = np.minimum(boxes[:, 2], x + SIDE) - np.maximum(boxes[:, 0], x)
    down = np.minimum(boxes[:, 3], y + SIDE) - np.maximum(boxes[:, 1], y)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return np.clip(across, 0, None) * np.clip(down, 0, None) / area
