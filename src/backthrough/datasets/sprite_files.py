"""Sprites from files: that of dSprites, and the replica with its pictures packed into bits."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, SupportsIndex

import numpy as np
from jaxtyping import Bool, Int, UInt8

from backthrough.core import DataError
from backthrough.datasets.arrays import read_npz, read_npz_headers
from backthrough.datasets.contents import Sprites
from backthrough.datasets.registry import find_entry
from backthrough.datasets.sprite_drawing import (
    DSPRITES_SIZES,
    FACTOR_NAMES,
    check_kept,
    find_missing_class,
)

Headers = Mapping[str, tuple[np.dtype, tuple[int, ...]]]

NOTHING = (np.dtype(np.void), ())
DSPRITES_LICENCE = "Apache-2.0 if these are the pictures of dSprites"
EXPECTED = (
    "expected imgs (uint8, n x size x size) and latents_classes (whole numbers, n x 6), as in dSprites, or "
    "imgs_packed (uint8, 3 x scales x orientations x posX x posY x size x size / 8), as in dsprites-replica"
)


def read_sprites(
    path: str | Path, *, classes: Mapping[str, Iterable[SupportsIndex]] | None = None
) -> Sprites:
    """Reads the file of dSprites, `dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz`, or that of the replica.

    All 737,280 pictures take 3.0 GB. With `classes` the result is smaller; but dSprites keeps its pictures in
    one piece, so that all are read first. The Python objects in it (`metadata`) are not touched.

    Args:
        path: The file; which it is shows from the arrays in it.
        classes: Which classes to keep of which factors, as in `sprites`; all when None.

    Returns:
        The pictures in the order of the file.

    Raises:
        ArgumentError: if `classes` names a factor or a class that there is not.
        DataError: if the file cannot be read or holds other arrays (naming them and their shapes), pixels
            that are neither 0 nor 1, classes that there are not, or not as many rows of classes as pictures;
            or if it has no picture of the classes to keep.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "dsprites.npz"
        >>> images = np.ones((1, 64, 64), np.uint8)
        >>> np.savez(path, imgs=images, latents_classes=np.array([[0, 2, 5, 0, 9, 9]]))
        >>> read_sprites(path).classes
        array([[2, 5, 0, 9, 9]])
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            headers = read_npz_headers(file, path)
            if _has_packed(headers):
                return _read_packed(file, path, classes)
            if _has_original(headers):
                return _read_original(file, path, classes)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    found = "; ".join(f"{name} ({dtype}, {shape})" for name, (dtype, shape) in headers.items())
    raise DataError(f"{path} is not a file of sprites: {EXPECTED}; found {found}")


def _has_packed(headers: Headers) -> bool:
    dtype, shape = headers.get("imgs_packed", NOTHING)
    return (
        dtype == np.uint8 and len(shape) == 7 and shape[0] == DSPRITES_SIZES[0] and shape[5] == 8 * shape[6]
    )


def _has_original(headers: Headers) -> bool:
    dtype, shape = headers.get("imgs", NOTHING)
    has_images = dtype == np.uint8 and len(shape) == 3 and shape[1] == shape[2]
    dtype, shape = headers.get("latents_classes", NOTHING)
    return has_images and dtype.kind in "iu" and len(shape) == 2 and shape[1] == 1 + len(FACTOR_NAMES)


def _read_packed(
    file: IO[bytes], path: Path, classes: Mapping[str, Iterable[SupportsIndex]] | None
) -> Sprites:
    packed = read_npz(file, path, names=["imgs_packed"])["imgs_packed"]
    sizes = packed.shape[: len(FACTOR_NAMES)]
    rows = np.ascontiguousarray(np.indices(sizes).reshape(len(sizes), -1).T)
    kept = _find_kept(rows, classes, sizes, path)
    images = np.unpackbits(packed.reshape(-1, *packed.shape[len(sizes) :])[kept], axis=-1)
    return _make_sprites(images, rows[kept], sizes, find_entry("dsprites-replica").licence, path)


def _read_original(
    file: IO[bytes], path: Path, classes: Mapping[str, Iterable[SupportsIndex]] | None
) -> Sprites:
    arrays = read_npz(file, path, names=["imgs", "latents_classes"])
    images, rows = arrays["imgs"], arrays["latents_classes"].astype(np.int64)
    if len(images) != len(rows):
        raise DataError(f"{path} has {len(images)} imgs, but {len(rows)} rows of latents_classes")
    if rows[:, 0].any():
        row = np.flatnonzero(rows[:, 0])[0]
        raise DataError(f"{path}, latents_classes: colour of row {row} must be 0, got {rows[row, 0]}")
    rows = rows[:, 1:]
    wrong = find_missing_class(rows, DSPRITES_SIZES)
    if wrong is not None:
        raise DataError(f"{path}, latents_classes: {wrong}")
    kept = _find_kept(rows, classes, DSPRITES_SIZES, path)
    if images.max(initial=0) > 1:
        picture = np.flatnonzero(images.max(axis=(1, 2)) > 1)[0]
        raise DataError(
            f"{path}, imgs: pixels must be 0 or 1, but picture {picture} has {images[picture].max()}"
        )
    return _make_sprites(images[kept], rows[kept], DSPRITES_SIZES, DSPRITES_LICENCE, path)


def _find_kept(
    rows: Int[np.ndarray, "picture factor"],
    classes: Mapping[str, Iterable[SupportsIndex]] | None,
    sizes: Sequence[int],
    path: Path,
) -> slice | Bool[np.ndarray, " picture"]:
    """Which pictures are of the classes to keep; all in a slice, so that pictures are not copied."""
    if classes is None:
        return slice(None)
    columns = zip(rows.T, check_kept(classes, sizes), strict=True)
    kept = np.all([np.isin(column, wanted) for column, wanted in columns], axis=0)
    if not kept.any():
        raise DataError(f"{path} has no picture of the classes to keep, {classes}")
    return kept


def _make_sprites(
    images: UInt8[np.ndarray, "picture size size"],
    classes: Int[np.ndarray, "picture factor"],
    sizes: tuple[int, ...],
    licence: str,
    path: Path,
) -> Sprites:
    images.setflags(write=False)
    classes.setflags(write=False)
    return Sprites(images, classes, FACTOR_NAMES, sizes, licence, str(path))
