"""The random masks that infillers are trained with, so that they know those that explanations ask about."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from backthrough.core import PRNGKey

CELLS = (1, 2, 4, 8)  # sides of the cells that are kept or hidden together, in pixels
PARTS = (5 / 8, 1 / 4, 1 / 8)  # how often cells, a hidden rectangle and a kept one are drawn


def image_mask(key: PRNGKey, height: int, width: int) -> Bool[Array, "height width"]:
    """A random mask of an image's pixels, True where one is kept.

    Five times of eight cells are kept, each with the same probability, itself uniform in [0, 1]: from all
    hidden to all kept. Their side is 1, 2, 4 or 8 pixels, and the grid lies anywhere. Twice a rectangle is
    hidden, whose sides are uniform up to those of the image, and once only a rectangle is kept.
    """
    kind_key, cell_key, box_key = jax.random.split(key, 3)
    kind = jax.random.choice(kind_key, len(PARTS), p=jnp.array(PARTS))
    inside = _rectangle(box_key, height, width)
    return jnp.where(kind == 0, _cells(cell_key, height, width), inside == (kind == 2))


def subset_mask(key: PRNGKey, n_units: int) -> Bool[Array, "unit"]:
    """A random subset: each unit is kept with the same probability, itself uniform in [0, 1]."""
    part_key, unit_key = jax.random.split(key)
    return jax.random.uniform(unit_key, (n_units,)) < jax.random.uniform(part_key)


def _cells(key: PRNGKey, height: int, width: int) -> Bool[Array, "height width"]:
    side_key, offset_key, part_key, cell_key = jax.random.split(key, 4)
    side = jnp.array(CELLS)[jax.random.randint(side_key, (), 0, len(CELLS))]
    offsets = jax.random.randint(offset_key, (2,), 0, max(CELLS)) % side
    kept = jax.random.uniform(cell_key, (height + 1, width + 1)) < jax.random.uniform(part_key)
    rows, columns = (
        _cell_of(length, side, offset) for length, offset in zip((height, width), offsets, strict=True)
    )
    return kept[rows][:, columns]


def _cell_of(length: int, side: Int[Array, ""], offset: Int[Array, ""]) -> Int[Array, "pixel"]:
    """In which cell each pixel of a line lies."""
    return (jnp.arange(length) + offset) // side


def _rectangle(key: PRNGKey, height: int, width: int) -> Bool[Array, "height width"]:
    sides = jax.random.uniform(key, (2, 2))
    rows, columns = (_stretch(own, length) for own, length in zip(sides, (height, width), strict=True))
    return rows[:, None] & columns


def _stretch(uniform: Float[Array, "2"], length: int) -> Bool[Array, "pixel"]:
    """A stretch of a line: how long and where, by two uniform numbers."""
    size = 1 + jnp.floor(uniform[0] * length).astype(int)
    start = jnp.floor(uniform[1] * (length - size + 1)).astype(int)
    at = jnp.arange(length)
    return (at >= start) & (at < start + size)
