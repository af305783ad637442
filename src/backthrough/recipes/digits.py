"""Pictures for the recipes that model them: a named data set, a folder of pictures, or an array file."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from backthrough.core import ArgumentError, DataError, check_choice, check_unit_interval
from backthrough.datasets import (
    BinaryImages,
    Images,
    dataset_names,
    load,
    read_arrays,
    read_images,
)

IMAGE_SETS = ("mnist-small", "mnist", "binarized-mnist", "fashion-mnist-partial")
N_OMNIGLOT_TRAIN, N_OMNIGLOT_VALID = 23_000, 1_345  # the split of the REBAR and RELAX code
OMNIGLOT_SPLIT_SEED, OMNIGLOT_BINARY_SEED = 0, 5
TEST_PART = 6  # of a user's own pictures one in six is kept for testing


@dataclass(frozen=True)
class Digits:
    """Pictures as rows of intensities in [0, 1].

    Attributes:
        shape: Height and width of a picture.
    """

    train: Float[np.ndarray, "train pixel"]
    test: Float[np.ndarray, "test pixel"]
    shape: tuple[int, int]


def load_digits(source: str, *, seed: int) -> Digits:
    """The training and test pictures of a data set, or of the user's own folder or file.

    Args:
        source: Name of an image data set; or a folder of grey pictures; or an `.npy` or `.npz` file with one
            array (image, height, width), uint8 or in [0, 1]. A random sixth of one's own pictures is for
            testing.
        seed: Determines that split.

    Raises:
        ArgumentError: if there is no such data set or file.
        DataError: if the pictures are not grey, not of one size, fewer than six, or outside [0, 1].
    """
    path = Path(source)
    if path.exists():
        return _split(_own_pictures(path), source, seed)
    if path.suffix or "/" in source:
        raise ArgumentError(f"there is no file or folder {source!r}")
    if source not in dataset_names():
        check_choice("image data set, file or folder", source, IMAGE_SETS)
    data = load(source)
    if isinstance(data, BinaryImages):
        side = math.isqrt(data.train.shape[1])
        train = np.concatenate([data.train, data.valid]).astype(np.float32)
        return Digits(train, data.test.astype(np.float32), (side, side))
    if not isinstance(data, Images):
        raise ArgumentError(
            f"{source} holds no training and test pictures; use {', '.join(IMAGE_SETS)}, or a folder or "
            "array file of your own"
        )
    _, height, width = data.train_images.shape
    return Digits(_rows(data.train_images), _rows(data.test_images), (height, width))


def binarise(
    images: Float[np.ndarray, "image pixel"], rule: Literal["static", "threshold"], *, seed: int
) -> Float[np.ndarray, "image pixel"]:
    """Zeros and ones from intensities: drawn once with the intensity as probability, or cut at one half."""
    if rule == "threshold":
        return (images >= 0.5).astype(np.float32)
    uniform = np.random.default_rng(seed).random(images.shape, np.float32)
    return (uniform < images).astype(np.float32)


def load_binary(
    source: str, *, seed: int
) -> tuple[Float[np.ndarray, "train pixel"], Float[np.ndarray, "held_out pixel"]]:
    """Training and held-out images as zeros and ones, drawn once with the intensities as probabilities."""
    if source != "omniglot":
        digits = load_digits(source, seed=seed)
        return binarise(digits.train, "static", seed=seed + 1), binarise(digits.test, "static", seed=0)
    data: Any = load("omniglot")
    images = np.concatenate([data["background"], data["evaluation"]])
    rows = images.reshape(len(images), -1) / np.float32(255)
    order = np.random.default_rng(OMNIGLOT_SPLIT_SEED).permutation(len(rows))
    binary = binarise(rows, "static", seed=OMNIGLOT_BINARY_SEED)
    last = N_OMNIGLOT_TRAIN + N_OMNIGLOT_VALID
    return binary[order[:N_OMNIGLOT_TRAIN]], binary[order[N_OMNIGLOT_TRAIN:last]]


def _own_pictures(path: Path) -> np.ndarray:
    if path.is_dir():
        images = read_images(path).images
    else:
        arrays = read_arrays(path)
        if len(arrays) != 1:
            raise DataError(f"{path} needs exactly one array of pictures, it has {', '.join(arrays)}")
        images = arrays[next(iter(arrays))]
    if images.dtype.kind not in "biuf":
        raise DataError(f"{path}: pictures must be real numbers, got {images.dtype}")
    if images.ndim != 3:
        raise DataError(
            f"{path}: grey pictures (image, height, width) are needed, got an array of shape {images.shape}"
        )
    return images


def _split(images: np.ndarray, source: str, seed: int) -> Digits:
    if len(images) < TEST_PART:
        raise DataError(f"{source} has {len(images)} pictures; at least {TEST_PART} are needed")
    rows = check_unit_interval(source, _rows(images))
    rows = rows[np.random.default_rng(seed).permutation(len(rows))]
    n_test = len(rows) // TEST_PART
    return Digits(rows[n_test:], rows[:n_test], (images.shape[1], images.shape[2]))


def _rows(images: np.ndarray) -> Float[np.ndarray, "image pixel"]:
    """Rows in float32; 8-bit grey levels are divided by 255 unless they are all 0 or 1."""
    rows = images.reshape(len(images), -1)
    if rows.dtype == np.uint8 and rows.size and rows.max() > 1:
        return rows / np.float32(255)
    return rows.astype(np.float32)
