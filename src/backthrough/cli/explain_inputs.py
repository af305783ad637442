"""What `backthrough explain` reads: pictures, arrays or rows as the model takes them; words for units."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from backthrough.core import ArgumentError, DataError, check_choice, check_integer

if TYPE_CHECKING:
    import numpy as np

    from backthrough.explain import Units

Channels = Literal["auto", "last", "first", "none"]
Scale = Literal["0 to 1", "-1 to 1", "0 to 255"]
RANGES: dict[str, tuple[float, float]] = {"0 to 1": (0.0, 1.0), "-1 to 1": (-1.0, 1.0), "0 to 255": (0, 255)}
CELLS = 8  # rows and columns of the default grid
SMALL = 16  # pixels of a side, below which every pixel is a unit
ARRAYS = (".npy", ".npz")
WORDS = "grid:ROWSxCOLUMNS, pixels, columns, positions or positions:WIDTH"


@dataclass(frozen=True)
class Inputs:
    """What is explained.

    Attributes:
        x: Along a leading axis, as the model takes them.
        names: Of each input, in messages and as part of file names.
        kind: Of an input.
        channels: Of a picture; None where it has no such axis.
        columns: Names of the columns of rows.
        scaled: Whether they were bytes, and so lie in the range of --scale.
    """

    x: "np.ndarray"
    names: tuple[str, ...]
    kind: Literal["picture", "row", "sequence"]
    channels: Literal["last", "first"] | None = None
    columns: tuple[str, ...] = ()
    scaled: bool = False


def read_inputs(
    path: Path,
    *,
    scale: Scale = "0 to 1",
    size: tuple[int, ...] = (),
    channels: Channels = "auto",
    columns: tuple[str, ...] = (),
    most: int | None = None,
) -> Inputs:
    """Reads a picture, a folder of pictures, arrays, or rows of a table.

    Args:
        path: The file or folder; what it is shows from its name.
        scale: What bytes become.
        size: Height and width to which pictures are resized.
        channels: Where the model has the channels of a picture; "auto": last, and none where it is grey.
        columns: Of a table.
        most: Only the first so many.

    Raises:
        ArgumentError: for an option that is for something else.
        DataError: naming the file and what is wrong with it.
    """
    from backthrough.datasets import is_image_name

    if path.is_dir() or is_image_name(path):
        _refuse("pictures", columns=columns)
        return _pictures(path, scale, size, channels, most)
    if path.suffix.lower() in ARRAYS:
        _refuse("arrays", columns=columns, size=size)
        return _arrays(path, scale, channels, most)
    _refuse("a table", size=size, channels=() if channels == "auto" else channels)
    return _rows(path, columns, most)


def units_of(words: str, inputs: Inputs, groups: tuple[tuple[int, ...], ...] = ()) -> "Units":
    """What is kept or hidden as one, from the option's words.

    Raises:
        ArgumentError: for other words, or units that such inputs don't have.
    """
    from backthrough.explain import Columns, Grid, Pixels, Positions

    name, _, rest = words.partition(":")
    shape = inputs.x.shape[1:]
    if words == "auto":
        sides = _sides(inputs) if inputs.kind == "picture" else ()
        name = {"picture": "grid", "row": "columns", "sequence": "positions"}[inputs.kind]
        name, rest = ("pixels", "") if sides and min(sides) < SMALL else (name, "")
    if groups and name != "columns":
        raise ArgumentError(f"--one-hot is for columns, not for --units {words}")
    if name in ("grid", "pixels"):
        if inputs.kind != "picture":
            raise ArgumentError(
                f"--units {words} is for pictures, and inputs have the shape {shape}; of arrays (height, "
                "width) say --channels none"
            )
        if name == "pixels":
            return Pixels(inputs.channels)
        rows, columns = _grid(rest, words)
        return Grid(rows, columns, inputs.channels)
    if name == "positions":
        width = _number(rest, words) if rest else 1
        return Positions(width)
    if len(shape) != 1:
        raise ArgumentError(f"--units columns is for rows, and inputs have the shape {shape}")
    grouped = {column for group in groups for column in group}
    alone = tuple((column,) for column in range(shape[0]) if column not in grouped)
    every = sorted((*groups, *alone))
    names = ["/".join(inputs.columns[i] for i in group) for group in every] if inputs.columns else ()
    return Columns(every, names)


def check_units(words: str) -> None:
    """Refuses words that are no units, before anything is read.

    Raises:
        ArgumentError: naming what units there are.
    """
    name, colon, rest = words.partition(":")
    if name not in ("auto", "grid", "pixels", "columns", "positions") or (
        colon and name not in ("grid", "positions")
    ):
        raise ArgumentError(f"--units is {WORDS}, got {words!r}")
    if name == "grid":
        _grid(rest, words)
    elif rest:
        _number(rest, words)


def _grid(rest: str, words: str) -> tuple[int, int]:
    if not rest:
        return CELLS, CELLS
    rows, cross, columns = rest.partition("x")
    return _number(rows, words), _number(columns if cross else rows, words)


def _number(text: str, words: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentError(f"--units is {WORDS}, with whole numbers from 1, got {words!r}")
    return int(text)


def _refuse(kind: str, **options: object) -> None:
    for name, value in options.items():
        if value:
            raise ArgumentError(f"--{name} says nothing about {kind}")


def _pictures(
    path: Path, scale: Scale, size: tuple[int, ...], channels: Channels, most: int | None
) -> Inputs:
    import numpy as np

    from backthrough.datasets import read_image, read_images

    if path.is_dir():
        found = read_images(path, size=size or None)
        pixels, names = found.images, found.files
    else:
        pixels, names = read_image(path, size=size or None)[None], (path.name,)
    x = scaled_bytes(pixels[:most], scale)
    is_grey = x.ndim == 3
    if channels == "auto":
        channels = "none" if is_grey else "last"
    if channels == "none":
        if not is_grey:
            raise ArgumentError(f"{path} is in colour: --channels last, or first as in torch")
        return Inputs(x, names[:most], "picture", None, scaled=True)
    x = x[..., None] if is_grey else x
    x = np.ascontiguousarray(np.moveaxis(x, -1, 1)) if channels == "first" else x
    return Inputs(x, names[:most], "picture", channels, scaled=True)


def _arrays(path: Path, scale: Scale, channels: Channels, most: int | None) -> Inputs:
    import numpy as np

    from backthrough.datasets import read_arrays

    found = read_arrays(path)
    names = list(found.names)
    if len(names) > 1 and "x" not in names:
        raise DataError(f"{path} holds the arrays {', '.join(names)}: name the inputs x, or save them alone")
    values = found["x" if "x" in names else names[0]]
    if values.dtype.kind not in "iufb":
        raise DataError(f"{path} holds {values.dtype}, and inputs are real numbers")
    if values.ndim < 2 or not values.size:
        raise DataError(
            f"{path} holds an array of shape {values.shape}, and inputs come along a leading axis, not "
            "empty: save x[None] of one"
        )
    values = np.asarray(values[:most])
    kind, layout = _kind_of(values.shape[1:], channels, path)
    is_bytes = values.dtype == np.uint8 and kind == "picture"
    x = scaled_bytes(values, scale) if is_bytes else values
    x = x if x.dtype.kind == "f" else x.astype(np.float32)
    numbers = tuple(str(i) for i in range(len(x)))
    return Inputs(x, numbers, kind, layout, scaled=is_bytes)


def _kind_of(
    shape: tuple[int, ...], channels: Channels, path: Path
) -> tuple[Literal["picture", "row", "sequence"], Literal["last", "first"] | None]:
    """What arrays of this shape are, as far as it tells."""
    if len(shape) == 3:
        if channels == "none":
            raise ArgumentError(
                f"{path} holds inputs of shape {shape}: --channels none is for (height, width)"
            )
        return "picture", "last" if channels == "auto" else channels
    if channels == "none" and len(shape) == 2:
        return "picture", None
    if channels in ("last", "first", "none"):
        raise ArgumentError(
            f"--channels {channels} is for pictures, and {path} holds inputs of shape {shape}"
        )
    if len(shape) > 3:
        raise DataError(
            f"{path} holds inputs of shape {shape}; rows have one axis, sequences two, pictures three"
        )
    return ("row" if len(shape) == 1 else "sequence"), None


def _rows(path: Path, columns: tuple[str, ...], most: int | None) -> Inputs:
    import numpy as np

    from backthrough.datasets import read_columns

    names, rows = read_columns(path, columns=columns)
    x = rows[:most].astype(np.float32)
    return Inputs(x, tuple(f"row {i + 1}" for i in range(len(x))), "row", columns=tuple(names))


def scaled_bytes(pixels: "np.ndarray", scale: Scale) -> "np.ndarray":
    """Bytes as numbers of the range that the model takes."""
    import numpy as np

    low, high = RANGES[scale]
    return (low + (high - low) * (pixels.astype(np.float32) / 255)).astype(np.float32)


def _sides(inputs: Inputs) -> tuple[int, ...]:
    shape = inputs.x.shape[1:]
    return shape[1:] if inputs.channels == "first" else shape[:2]


def check_inputs_options(*, scale: str, size: tuple[int, ...], most: int | None) -> None:
    """Refuses numbers that cannot be.

    Raises:
        ArgumentError: naming the option.
    """
    check_choice("scale", scale, tuple(RANGES))
    if size and len(size) != 2:
        raise ArgumentError(f"--size takes height and width, got {size}")
    if most is not None:
        check_integer("n_inputs", most, minimum=1)
