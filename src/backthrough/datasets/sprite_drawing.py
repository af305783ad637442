"""Sprites: squares, ellipses and hearts of known scale, orientation and place, drawn as dSprites has them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import SupportsIndex

import numpy as np
from jaxtyping import Bool, Float, Int, Integer, UInt8
from rich.console import Console
from rich.progress import track

from backthrough.core import ArgumentError, check_choice, check_integer
from backthrough.datasets.contents import Sprites
from backthrough.datasets.registry import find_entry

FACTOR_NAMES = ("shape", "scale", "orientation", "posX", "posY")
DSPRITES_SIZES = (3, 6, 40, 32, 32)
"""How many classes each factor of dSprites has."""

UNITS = 64  # the side of a picture; outlines and places are in these units, whatever its pixels
PIXELS_AT_ONCE = 2**18  # of whole pictures; what is computed of them stays in the cache
PIXELS_WITH_BAR = 2**28  # one or two seconds

HEART_UPPER = np.array(
    [
        (0.0, -5.20095902),
        (0.73969654, -7.03774245),
        (1.73695954, -8.17175216),
        (2.93801037, -9.04226614),
        (4.15410263, -9.33026727),
        (5.3694589, -9.30017562),
        (6.52138652, -8.9759185),
        (7.52139903, -8.35335989),
        (8.37159503, -7.53781802),
        (9.01506065, -6.54982495),
        (9.44456326, -5.45282114),
        (9.62376056, -4.28477426),
    ]
)
"""(u, v) from the notch to the right, v downward; `HEART_LOWER` goes from the tip to the right.

Fitted to the hearts of dSprites, which are under the Apache licence 2.0 as this code is.
"""

HEART_LOWER = np.array(
    [
        (0.0, 9.26469318),
        (0.82534582, 7.85264092),
        (1.47967712, 6.96133353),
        (2.04938153, 6.3073478),
        (2.56317097, 5.75697626),
        (3.04011331, 5.26563071),
        (3.50093923, 4.81862947),
        (3.95782934, 4.3956148),
        (4.41121033, 3.97187162),
        (4.86453149, 3.53428901),
        (5.34344562, 3.08503977),
        (5.84244226, 2.60122289),
        (6.36461178, 2.06798773),
        (6.93049347, 1.47312186),
        (7.50192734, 0.78848434),
        (8.16932662, 0.0),
        (8.71137521, -0.91560243),
        (9.21282646, -1.95824672),
        (9.50802257, -3.08934381),
        (9.62376056, -4.28477426),
    ]
)

QUARTER_TURN = np.pi / 2 * np.arange(16, -1, -1)[:, None] / 16
ELLIPSE_LOWER = np.hstack([12.78 * np.cos(QUARTER_TURN), 7.22 * np.sin(QUARTER_TURN)])
SQUARE_LOWER = np.array([(0.0, 9.6), (9.6, 9.6)])
MIRROR = np.array([1.0, -1.0])

EDGES = (
    (SQUARE_LOWER * MIRROR, SQUARE_LOWER),
    (ELLIPSE_LOWER * MIRROR, ELLIPSE_LOWER),
    (HEART_UPPER, HEART_LOWER),
)
"""The upper and the lower edge of each shape's right half; the left half is its mirror image."""


def sprites(
    *,
    classes: Mapping[str, Iterable[SupportsIndex]] | None = None,
    size: int = 64,
    sizes: Sequence[int] = DSPRITES_SIZES,
) -> Sprites:
    """Draws a full grid of sprites, one picture for each combination of shape, scale, orientation and place.

    The whole grid of dSprites is 737,280 pictures. At 64 x 64 they take 3.0 GB (a byte a pixel) and some
    twenty seconds; keep fewer classes, or draw smaller, where that is too much.

    Args:
        classes: Which classes to keep of which factors, as in `{"shape": [2], "posX": range(0, 32, 2)}`; all
            classes of the factors that are not named. The factors are shape (0 square, 1 ellipse, 2 heart),
            scale, orientation, posX and posY.
        size: Height and width in pixels.
        sizes: How many classes each of the five factors has; see `render_sprites`.

    Returns:
        The pictures in row-major order, posY fastest. They keep their class numbers of the full grid.

    Raises:
        ArgumentError: naming the factor, size or class that there is not.

    Example:
        Hearts of all scales, in four of the orientations and every eighth place across and down:

        >>> place = range(0, 32, 8)
        >>> hearts = sprites(
        ...     classes={"shape": [2], "orientation": range(0, 40, 10), "posX": place, "posY": place}
        ... )
        >>> hearts.images.shape, hearts.classes[-1].tolist()
        ((384, 64, 64), [2, 5, 30, 24, 24])
    """
    sizes = _check_sizes(sizes)
    kept = check_kept(classes, sizes)
    grid = np.stack(np.meshgrid(*kept, indexing="ij"), axis=-1).reshape(-1, len(sizes))
    images = render_sprites(grid, size=size, sizes=sizes)
    images.setflags(write=False)
    grid.setflags(write=False)
    replica = find_entry("dsprites-replica")
    return Sprites(
        images,
        grid,
        factor_names=FACTOR_NAMES,
        factor_sizes=sizes,
        licence=replica.licence,
        source=f"Drawn by backthrough after dSprites (report as 'dSprites replica'): {replica.source}",
    )


def render_sprites(
    classes: Integer[np.ndarray, "picture 5"] | Sequence[Sequence[int]],
    *,
    size: int = 64,
    sizes: Sequence[int] = DSPRITES_SIZES,
) -> UInt8[np.ndarray, "picture {size} {size}"]:
    """Draws the sprites of the given classes, without anti-aliasing.

    A pixel is set if its centre lies inside the outline. At 64 x 64 and with the default `sizes` the pictures
    are those of the data set dsprites-replica, bit for bit. From those of dSprites they differ in few pixels:
    of the 12 labelled pictures in dsprites-frames 10 are equal, and the others differ in one pixel each.

    Args:
        classes: Shape (0 square, 1 ellipse, 2 heart), scale, orientation, posX and posY of each picture.
        size: Height and width in pixels; the same scene is seen in more or fewer of them.
        sizes: How many classes each of these factors has. Scales go from 0.5 to 1, orientations from 0 to
            2 pi (so the first and the last are the same), places from a quarter to three quarters of the
            picture, all in equal steps and inclusive. There are three shapes.

    Returns:
        Zeros and ones, shape (picture, size, size).

    Raises:
        ArgumentError: naming the size, or the row, factor and class that there is not.

    Example:
        >>> heart = render_sprites(np.array([[2, 5, 0, 1, 1]]), size=32, sizes=(3, 6, 40, 3, 3))[0]
        >>> for line in heart[10:21, 10:22]:
        ...     print("".join("-#"[pixel] for pixel in line))
        ------------
        ---##--##---
        --########--
        -##########-
        -##########-
        --########--
        --########--
        ---######---
        ----####----
        -----##-----
        ------------
    """
    size = check_integer("size", size, minimum=1)
    sizes = _check_sizes(sizes)
    classes = np.asarray(classes)
    if classes.ndim != 2 or classes.shape[1] != len(sizes) or classes.dtype.kind not in "iu":
        raise ArgumentError(
            f"classes must be whole numbers, five a picture ({', '.join(FACTOR_NAMES)}), got {classes.dtype} "
            f"of shape {classes.shape}"
        )
    wrong = find_missing_class(classes, sizes)
    if wrong is not None:
        raise ArgumentError(f"classes: {wrong}")
    images = np.zeros((len(classes), size, size), np.uint8)
    console = Console(stderr=True)
    is_quiet = images.size < PIXELS_WITH_BAR or not console.is_terminal
    batches = list(_batches(classes, max(1, PIXELS_AT_ONCE // size**2)))
    for rows in track(batches, "drawing sprites", console=console, transient=True, disable=is_quiet):
        _draw(images, rows, classes[rows], sizes)
    return images


def check_kept(
    classes: Mapping[str, Iterable[SupportsIndex]] | None, sizes: Sequence[int]
) -> tuple[Int[np.ndarray, " kept"], ...]:
    """The classes to keep of each factor, ascending.

    Raises:
        ArgumentError: if `classes` names a factor or a class that there is not, or keeps none of a factor.
    """
    classes = classes or {}
    for name in classes:
        check_choice("factor in classes", name, FACTOR_NAMES)
    kept = []
    for name, n in zip(FACTOR_NAMES, sizes, strict=True):
        label = f"classes[{name!r}]"
        given = classes.get(name, range(n))
        if isinstance(given, str) or not np.iterable(given):
            raise ArgumentError(f"{label} must be a list of class numbers, got {given!r}")
        wanted = sorted({check_integer(label, one, minimum=0) for one in given})
        if not wanted:
            raise ArgumentError(f"{label} keeps nothing; leave it out to keep all {n}")
        if wanted[-1] >= n:
            raise ArgumentError(f"{label} must lie in 0 to {n - 1}, got {wanted[-1]}")
        kept.append(np.array(wanted))
    return tuple(kept)


def find_missing_class(classes: Integer[np.ndarray, "picture factor"], sizes: Sequence[int]) -> str | None:
    """Says which class of which row there is not; None when there are all."""
    bad = (classes < 0) | (classes >= np.array(sizes))
    if not bad.any():
        return None
    row, column = (int(i) for i in np.argwhere(bad)[0])
    found = classes[row, column]
    return f"{FACTOR_NAMES[column]} of row {row} must lie in 0 to {sizes[column] - 1}, got {found}"


def _check_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    if len(sizes) != len(FACTOR_NAMES):
        raise ArgumentError(f"sizes must be five numbers ({', '.join(FACTOR_NAMES)}), got {sizes!r}")
    checked = tuple(
        check_integer(f"sizes ({name})", n, minimum=1) for name, n in zip(FACTOR_NAMES, sizes, strict=True)
    )
    if checked[0] != len(EDGES):
        raise ArgumentError(
            f"sizes (shape) must be {len(EDGES)}, got {checked[0]}; choose among the shapes by their classes"
        )
    return checked


def _batches(classes: Integer[np.ndarray, "picture 5"], length: int) -> Iterator[Int[np.ndarray, " row"]]:
    """Row numbers, some at a time, all of one shape and scale."""
    order = np.lexsort((classes[:, 1], classes[:, 0]))
    changes = np.flatnonzero(np.diff(classes[order, :2], axis=0).any(axis=1)) + 1
    for rows in np.split(order, changes):
        for start in range(0, len(rows), length):
            yield rows[start : start + length]


def _draw(
    images: UInt8[np.ndarray, "all size size"],
    rows: Int[np.ndarray, " picture"],
    classes: Integer[np.ndarray, "picture 5"],
    sizes: Sequence[int],
) -> None:
    """Draws sprites of one shape and scale into the pictures of the given numbers."""
    upper, lower = EDGES[classes[0, 0]]
    scale = np.linspace(0.5, 1, sizes[1])[classes[0, 1]]
    angles = np.linspace(0, 2 * np.pi, sizes[2])
    angles[-1] = 0  # 2 pi, without its rounding
    cos, sin = np.cos(angles)[classes[:, 2], None, None], np.sin(angles)[classes[:, 2], None, None]
    x, y = (16 + 32 * np.linspace(0, 1, sizes[axis])[classes[:, axis]] for axis in (3, 4))
    reach = scale * np.hypot(*np.vstack([upper, lower]).T).max()
    columns, dx = _near(x, reach, images.shape[2])
    lines, dy = _near(y, reach, images.shape[1])
    dx, dy = dx[:, None, :], dy[:, :, None]
    u = (cos * dx - sin * dy) / scale
    v = (sin * dx + cos * dy) / scale
    images[rows[:, None, None], lines[:, :, None], columns[:, None, :]] = _is_inside(u, v, upper, lower)


def _near(
    centre: Float[np.ndarray, " picture"], reach: float, size: int
) -> tuple[Int[np.ndarray, "picture near"], Float[np.ndarray, "picture near"]]:
    """The pixels within reach of each centre along one axis, and how far theirs lie from it, in units."""
    n = min(int(2 * reach * size / UNITS) + 2, size)
    first = np.floor((centre - reach) * size / UNITS).astype(int)
    pixels = np.clip(first, 0, size - n)[:, None] + np.arange(n)
    return pixels, (pixels + 0.5) * (UNITS / size) - centre[:, None]


def _is_inside(
    u: Float[np.ndarray, "*points"],
    v: Float[np.ndarray, "*points"],
    upper: Float[np.ndarray, "knot 2"],
    lower: Float[np.ndarray, "knot2 2"],
) -> Bool[np.ndarray, "*points"]:
    """Whether points lie between the edges of a shape or of its left half, the mirror image."""
    u = np.abs(u)
    return (u < upper[-1, 0]) & (v > np.interp(u, *upper.T)) & (v < np.interp(u, *lower.T))
