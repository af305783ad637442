"""What is kept or hidden as one: pixels, cells of a grid, superpixels, columns, positions of a sequence."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from backthrough.core import ArgumentError, check_choice, check_integer
from backthrough.explain.infill.layout import Channels

MOST_CHANNELS = 4  # of what can be a picture


@dataclass(frozen=True)
class Partition:
    """The features of an example, each in one unit.

    Attributes:
        labels: Of the example's shape: the unit of each feature.
        area: Of each unit, as a fraction of the whole: all are 1 together.
        centres: Where each unit lies, in [0, 1] along each axis that has an order; tables have none.
        canvas: The same labels without the channels: where each unit is drawn.
        names: Of the units, where they have any.
    """

    labels: Int[np.ndarray, "..."]
    area: Float[np.ndarray, "unit"]
    centres: Float[np.ndarray, "unit axis"]
    canvas: Int[np.ndarray, "..."]
    names: tuple[str, ...] = ()

    @property
    def n_units(self) -> int:
        """How many units there are."""
        return len(self.area)


@runtime_checkable
class Units(Protocol):
    """How an example is cut into units."""

    def cut(self, shape: tuple[int, ...]) -> Partition:
        """The units of an example of this shape.

        Raises:
            ArgumentError: if it cannot be cut so.
        """
        ...


@dataclass(frozen=True)
class Grid:
    """Cells of a picture, `rows` x `columns` of them, as equal as they can be.

    Attributes:
        rows: Cells from top to bottom.
        columns: Cells from left to right.
        channels: Where the channels are: `"last"` (height, width, channel), `"first"` as in torch, or
            None for a picture of shape (height, width).

    Example:
        >>> Grid(8, 8).cut((32, 32, 3)).n_units
        64
    """

    rows: int
    columns: int
    channels: Channels = "last"

    def cut(self, shape: tuple[int, ...]) -> Partition:
        """See `Units`."""
        rows = check_integer("rows", self.rows, minimum=1)
        columns = check_integer("columns", self.columns, minimum=1)
        height, width = picture_size(shape, self.channels)
        if rows > height or columns > width:
            raise ArgumentError(
                f"a grid of {rows} x {columns} cells is finer than the picture of {height} x {width} pixels"
            )
        down = np.arange(height) * rows // height
        across = np.arange(width) * columns // width
        return of_picture(down[:, None] * columns + across, shape, self.channels)


@dataclass(frozen=True)
class Pixels:
    """Every pixel of a picture for itself, all its channels together.

    Attributes:
        channels: As for `Grid`.
    """

    channels: Channels = "last"

    def cut(self, shape: tuple[int, ...]) -> Partition:
        """See `Units`."""
        height, width = picture_size(shape, self.channels)
        return of_picture(np.arange(height * width).reshape(height, width), shape, self.channels)


@dataclass(frozen=True, eq=False)
class Superpixels:
    """Segments of a picture, as from `skimage.segmentation.slic(image, start_label=0)`.

    Attributes:
        labels: Shape (height, width): the segment of each pixel, 0 to K - 1, each of which occurs.
        channels: As for `Grid`.
    """

    labels: Int[np.ndarray, "height width"]
    channels: Channels = "last"

    def cut(self, shape: tuple[int, ...]) -> Partition:
        """See `Units`."""
        labels = np.asarray(self.labels)
        size = picture_size(shape, self.channels)
        if labels.shape != size:
            raise ArgumentError(f"labels have shape {labels.shape}, the picture's pixels {size}")
        if labels.dtype.kind not in "iu":
            raise ArgumentError(f"labels must be whole numbers, got {labels.dtype}")
        found = np.unique(labels)
        if not np.array_equal(found, np.arange(len(found))):
            raise ArgumentError(
                f"labels must be 0 to K - 1, each of which occurs, got {len(found)} different ones from "
                f"{found[0]} to {found[-1]}; np.unique(labels, return_inverse=True)[1].reshape(labels.shape) "
                "numbers them so"
            )
        return of_picture(labels.astype(np.int64), shape, self.channels)


@dataclass(frozen=True)
class Columns:
    """Columns of a table's row; those that belong together, such as the bits of one category, as one unit.

    Attributes:
        groups: Positions of the columns of each unit, each column in one of them; every column for itself
            when None.
        names: Of the units.

    Example:
        >>> Columns(((0,), (1, 2, 3))).cut((4,)).n_units
        2
    """

    groups: Sequence[Sequence[int]] | None = None
    names: Sequence[str] = ()

    def cut(self, shape: tuple[int, ...]) -> Partition:
        """See `Units`."""
        if len(shape) != 1:
            raise ArgumentError(f"Columns are of rows with one axis, got examples of shape {shape}")
        n = shape[0]
        groups = [[column] for column in range(n)] if self.groups is None else [list(g) for g in self.groups]
        if not groups or not all(groups):
            raise ArgumentError("groups must have columns, each of them; one is empty")
        if sorted(column for group in groups for column in group) != list(range(n)):
            raise ArgumentError(f"groups must hold each column from 0 to {n - 1} once, got {groups}")
        names = tuple(self.names)
        if names and len(names) != len(groups):
            raise ArgumentError(f"names has {len(names)} names for {len(groups)} units")
        labels = np.empty(n, np.int64)
        for unit, group in enumerate(groups):
            labels[group] = unit
        area = np.full(len(groups), 1 / len(groups))
        return Partition(labels, area, np.zeros((len(groups), 0)), labels, names)


@dataclass(frozen=True)
class Positions:
    """Positions of a sequence of shape (length,) or (length, letters), `width` neighbours as one unit.

    Attributes:
        width: Positions in a unit; the last one may have fewer.
    """

    width: int = 1

    def cut(self, shape: tuple[int, ...]) -> Partition:
        """See `Units`."""
        width = check_integer("width", self.width, minimum=1)
        if len(shape) not in (1, 2) or not shape[0]:
            raise ArgumentError(
                f"Positions are of sequences of shape (length,) or (length, letters), not empty, got {shape}"
            )
        canvas = np.arange(shape[0]) // width
        labels = np.broadcast_to(canvas.reshape(-1, *(1,) * (len(shape) - 1)), shape)
        return _measured(labels, canvas)


def picture_size(shape: tuple[int, ...], channels: Channels) -> tuple[int, int]:
    """Height and width of a picture.

    Raises:
        ArgumentError: if the shape is no picture's, or its channels seem to be elsewhere.
    """
    if channels is None:
        if len(shape) == 2:
            return shape
        raise ArgumentError(f"channels=None is for pictures of shape (height, width), got {shape}")
    check_choice("channels", channels, ("last", "first"))
    if len(shape) != 3:
        cure = "; a picture without channels has channels=None" if len(shape) == 2 else ""
        raise ArgumentError(f"pictures have height, width and channels, got examples of shape {shape}{cure}")
    last, first = shape[2] <= MOST_CHANNELS, shape[0] <= MOST_CHANNELS
    if (channels == "last" and first and not last) or (channels == "first" and last and not first):
        other = "first" if channels == "last" else "last"
        raise ArgumentError(
            f"of examples of shape {shape} the {other} axis looks like the channels: say channels={other!r}"
        )
    return shape[:2] if channels == "last" else shape[1:]


def of_picture(
    canvas: Int[np.ndarray, "height width"], shape: tuple[int, ...], channels: Channels
) -> Partition:
    """The partition of a picture by labels of its pixels."""
    widened = canvas if channels is None else canvas[..., None] if channels == "last" else canvas[None]
    return _measured(np.broadcast_to(widened, shape), canvas)


def _measured(labels: np.ndarray, canvas: np.ndarray) -> Partition:
    """A partition with area and centre of each unit."""
    flat = canvas.reshape(-1)
    sizes = np.bincount(flat)
    places = np.indices(canvas.shape).reshape(canvas.ndim, -1)
    centres = [
        (np.bincount(flat, weights=place + 0.5) / sizes / length)
        for place, length in zip(places, canvas.shape, strict=True)
    ]
    return Partition(np.ascontiguousarray(labels), sizes / sizes.sum(), np.stack(centres, axis=1), canvas)
