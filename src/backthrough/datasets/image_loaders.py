"""Picture sets from the contents of their files."""

import struct
from collections.abc import Mapping

import numpy as np
from jaxtyping import Shaped

from backthrough.core import DataError
from backthrough.datasets.contents import BinaryImages, Images

NamedArrays = Mapping[str, Shaped[np.ndarray, "..."]]
UNSIGNED_BYTE = 0x08


def read_idx_images(
    train_images: bytes,
    train_labels: bytes,
    test_images: bytes,
    test_labels: bytes,
    *,
    licence: str,
    source: str,
) -> Images:
    """Pictures and labels from the four idx files of MNIST."""
    return Images(
        parse_idx(train_images),
        parse_idx(train_labels),
        parse_idx(test_images),
        parse_idx(test_labels),
        licence=licence,
        source=source,
    )


def parse_idx(content: bytes) -> np.ndarray:
    """The array of unsigned bytes in an idx file (big-endian header: magic number, then the shape).

    Raises:
        DataError: if the content is not an idx file of unsigned bytes.
    """
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != UNSIGNED_BYTE:
        raise DataError("not an idx file of unsigned bytes")
    n_axes = content[3]
    header = 4 + 4 * n_axes
    shape = struct.unpack(f">{n_axes}I", content[4:header])
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def read_packed_subset(arrays: NamedArrays, *, licence: str, source: str) -> Images:
    """The bundled part of MNIST."""
    return Images(
        arrays["train_images"],
        arrays["train_labels"],
        arrays["test_images"],
        arrays["test_labels"],
        licence=licence,
        source=source,
    )


def read_partial_fashion(arrays: NamedArrays, *, licence: str, source: str) -> Images:
    """The partial Fashion-MNIST; its test part is held-out pictures, not the official test set."""
    return Images(
        arrays["train_x"].reshape(-1, 28, 28),
        arrays["train_y"],
        arrays["heldout_x"].reshape(-1, 28, 28),
        arrays["heldout_y"],
        licence=licence,
        source=source,
    )


def read_bit_packed(arrays: NamedArrays, *, licence: str, source: str) -> BinaryImages:
    """Binary pictures from rows of packed bits."""
    return BinaryImages(
        np.unpackbits(arrays["train"], axis=1),
        np.unpackbits(arrays["valid"], axis=1),
        np.unpackbits(arrays["test"], axis=1),
        arrays["test_y"],
        licence=licence,
        source=source,
    )
