"""A user's own pictures, from a folder or one by one."""

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from backthrough.core import ArgumentError, DataError, check_integer
from backthrough.datasets.contents import ImageFolder

IGNORED_NAMES = ("thumbs.db", "desktop.ini")
GREY_MODES = ("1", "L", "LA")
COLOUR_MODES = ("RGB", "RGBA", "P", "PA", "CMYK", "YCbCr", "LAB", "HSV")
ALPHA_MODES = ("LA", "RGBA", "PA")


def read_images(folder: str | Path, *, size: Sequence[int] | None = None) -> ImageFolder:
    """Reads all pictures of a folder, in the order of their names.

    If the folder holds folders, each of these is a class, and all pictures must lie in one of them.
    Names that begin with a dot, `Thumbs.db` and `desktop.ini` are ignored; any other file must be a picture.
    Pictures are turned as their EXIF orientation says.

    Args:
        folder: The folder.
        size: Height and width in pixels to which every picture is resized (bilinear, antialiased). Without
            it, all pictures must have one size.

    Returns:
        The pictures, all grey or all colour, with labels when there are class folders.

    Raises:
        ArgumentError: if `size` is not two positive whole numbers.
        DataError: naming the file that is no picture, cannot be read, has transparent pixels, more than 8
            bits a channel, several frames, or another size or kind (grey or colour) than the first; or naming
            the folder that cannot be read or is empty.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("cat", "dog"):
        ...     (folder / name).mkdir()
        ...     Image.new("L", (8, 6)).save(folder / name / "1.png")
        >>> pictures = read_images(folder)
        >>> pictures.images.shape, pictures.class_names
        ((2, 6, 8), ('cat', 'dog'))
    """
    folder = Path(folder)
    shape = None if size is None else _check_size(size)
    classes = _list_classes(folder)
    paths = [path for pictures in classes.values() for path in pictures]
    images = [_read_picture(paths[0], shape)]
    for path in paths[1:]:
        image = _read_picture(path, shape)
        if image.shape != images[0].shape:
            raise DataError(
                f"{path} is {_kind(image)}, but {paths[0]} is {_kind(images[0])}; all pictures of a folder "
                "must have one size and be all grey or all colour"
            )
        images.append(image)
    named = "" not in classes
    labels = np.repeat(np.arange(len(classes)), [len(pictures) for pictures in classes.values()])
    pixels = np.stack(images)
    pixels.setflags(write=False)
    labels.setflags(write=False)
    return ImageFolder(
        pixels,
        labels=labels if named else None,
        class_names=tuple(classes) if named else (),
        files=tuple(path.relative_to(folder).as_posix() for path in paths),
        source=str(folder),
    )


def read_image(
    path: str | Path, *, size: Sequence[int] | None = None
) -> UInt8[np.ndarray, "height width *channel"]:
    """Reads one picture, as `read_images` does each of a folder.

    Args:
        path: The file.
        size: Height and width to which it is resized; as it is when None.

    Returns:
        Shape (height, width), or (height, width, 3) in colour.

    Raises:
        ArgumentError: if `size` is not two positive whole numbers.
        DataError: naming the file that is no picture, or cannot be used as one.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "1.png"
        >>> Image.new("RGB", (8, 6)).save(path)
        >>> read_image(path).shape
        (6, 8, 3)
    """
    if not is_image_name(path):
        raise DataError(f"{path} is not an image file")
    return _read_picture(Path(path), None if size is None else _check_size(size))


def is_image_name(path: str | Path) -> bool:
    """Whether a file's name ends like that of a picture."""
    return Path(path).suffix.lower() in Image.registered_extensions()


def _check_size(size: Sequence[int]) -> tuple[int, int]:
    if len(size) != 2:
        raise ArgumentError(f"size must be (height, width), got {size!r}")
    height, width = (check_integer("size", side, minimum=1) for side in size)
    return height, width


def _list_classes(folder: Path) -> dict[str, list[Path]]:
    """The pictures of each class folder by name, or all pictures under `""` when there is none."""
    entries = _list(folder)
    folders = [entry for entry in entries if entry.is_dir()]
    if not entries:
        raise DataError(f"{folder} holds no pictures")
    if not folders:
        return {"": entries}
    loose = [entry for entry in entries if not entry.is_dir()]
    if loose:
        raise DataError(
            f"{folder} holds class folders ({folders[0].name}, ...) and also the file {loose[0].name}: "
            "put every picture into a class folder, or none"
        )
    classes = {entry.name: _list(entry) for entry in folders}
    for name, pictures in classes.items():
        if not pictures:
            raise DataError(f"class folder {folder / name} holds no pictures")
        for path in pictures:
            if path.is_dir():
                raise DataError(
                    f"class folder {folder / name} holds a folder: {path.name}; one level is allowed"
                )
    return classes


def _list(folder: Path) -> list[Path]:
    try:
        entries = sorted(folder.iterdir(), key=lambda path: path.name)
    except OSError as error:
        raise DataError(f"cannot read folder {folder}: {error.strerror or error}") from error
    return [
        path for path in entries if not path.name.startswith(".") and path.name.lower() not in IGNORED_NAMES
    ]


def _read_picture(path: Path, shape: tuple[int, int] | None) -> UInt8[np.ndarray, "height width *channel"]:
    if not is_image_name(path):
        raise DataError(f"{path} is not an image file; the folder may hold nothing else")
    try:
        with Image.open(path) as picture:
            if getattr(picture, "n_frames", 1) > 1:
                raise DataError(f"{path} holds several frames; save each as a picture of its own")
            upright = ImageOps.exif_transpose(picture)
            plain = _to_grey_or_colour(path, upright)
    except DataError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read as an image: {error}") from error
    if shape is not None:
        plain = plain.resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
    return np.asarray(plain)


def _to_grey_or_colour(path: Path, picture: Image.Image) -> Image.Image:
    if picture.mode not in GREY_MODES + COLOUR_MODES:
        raise DataError(
            f"{path} has pixels of mode {picture.mode}; only 8-bit grey or colour pictures can be used"
        )
    if picture.mode in ALPHA_MODES or "transparency" in picture.info:
        opacity = np.asarray(picture.convert("RGBA").getchannel("A"))
        if opacity.min() < 255:
            raise DataError(f"{path} has transparent pixels; put the picture on a background first")
    return picture.convert("L" if picture.mode in GREY_MODES else "RGB")


def _kind(image: UInt8[np.ndarray, "height width *channel"]) -> str:
    height, width = image.shape[:2]
    return f"{height} x {width} {'grey' if image.ndim == 2 else 'colour'}"
