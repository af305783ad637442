"""A small network from an image with holes to the image without."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from backthrough.core import PRNGKey
from backthrough.nets import Convolution

RELU = 2**0.5  # gain that makes up for what a ReLU cuts off
RESIDUAL = 0.3  # gain of what a block adds at first
FINE = 16  # channels at the resolution of the image
PATCH = 2  # pixels of a side that the first layer takes together
Image = Float[Array, "height width channel"]


class Residual(eqx.Module):
    """x + two convolutions of x."""

    first: Convolution
    second: Convolution

    def __init__(self, width: int, *, key: PRNGKey):
        first, second = jax.random.split(key)
        self.first = _convolution(width, width, 3, padding=1, gain=RELU, key=first)
        self.second = _convolution(width, width, 3, padding=1, gain=RESIDUAL, key=second)

    def __call__(self, x: Image) -> Image:
        """The block's output."""
        return x + self.second(jax.nn.relu(self.first(jax.nn.relu(x))))


class UNet(eqx.Module):
    """Convolutions at falling and rising resolutions, joined at each (Ronneberger et al. 2015).

    Every two by two pixels are taken together first, which makes it four times as fast. Images of any size
    are filled up with zeros.

    Attributes:
        entry: From the pixels of a patch to channels.
        down: Blocks from the finest resolution to the last but one.
        shrink: Convolutions between them, that halve both sides.
        bottom: Blocks at the coarsest resolution.
        widen: On the way back, from the channels of both resolutions to those of the finer one.
        up: Blocks on the way back.
        exit: To the pixels of a patch.
        refine: Two layers on single pixels, which see the image as it came and what was made of it.
    """

    entry: Convolution
    down: tuple[Residual, ...]
    shrink: tuple[Convolution, ...]
    bottom: tuple[Residual, ...]
    widen: tuple[Convolution, ...]
    up: tuple[Residual, ...]
    exit: Convolution
    refine: tuple[Convolution, Convolution]

    def __init__(self, n_in: int, n_out: int, widths: tuple[int, ...], *, key: PRNGKey):
        keys = iter(jax.random.split(key, 4 * len(widths) + 4))
        steps = list(itertools.pairwise(widths))
        self.entry = _convolution(n_in * PATCH**2, widths[0], 3, padding=1, key=next(keys))
        self.down = tuple(Residual(width, key=next(keys)) for width in widths[:-1])
        self.shrink = tuple(Convolution(fine, coarse, 2, stride=2, key=next(keys)) for fine, coarse in steps)
        self.bottom = (Residual(widths[-1], key=next(keys)),)
        self.widen = tuple(_convolution(fine + coarse, fine, 1, key=next(keys)) for fine, coarse in steps)
        self.up = tuple(Residual(width, key=next(keys)) for width in widths[:-1])
        self.exit = _convolution(widths[0], n_out * PATCH**2, 3, padding=1, gain=RELU, key=next(keys))
        self.refine = (
            _convolution(n_in + n_out, FINE, 3, padding=1, key=next(keys)),
            _convolution(FINE, n_out, 3, padding=1, gain=RESIDUAL, key=next(keys)),
        )

    def __call__(self, x: Image) -> Float[Array, "height width out"]:
        """An image of the same sides."""
        height, width, _ = x.shape
        unit = PATCH * 2 ** len(self.shrink)
        image = jnp.pad(x, ((0, -height % unit), (0, -width % unit), (0, 0)))
        x = self.entry(_to_patches(image))
        skipped = []
        for block, shrink in zip(self.down, self.shrink, strict=True):
            x = block(x)
            skipped.append(x)
            x = shrink(x)
        for block in self.bottom:
            x = block(x)
        for block, widen, skip in reversed(list(zip(self.up, self.widen, skipped, strict=True))):
            x = jnp.repeat(jnp.repeat(x, 2, axis=0), 2, axis=1)
            x = block(widen(jnp.concatenate([skip, x], axis=-1)))
        coarse = _from_patches(self.exit(jax.nn.relu(x)))
        first, second = self.refine
        fine = second(jax.nn.relu(first(jnp.concatenate([image, coarse], axis=-1))))
        return (coarse + fine)[:height, :width]


def _convolution(
    n_in: int, n_out: int, size: int, *, stride: int = 1, padding: int = 0, gain: float = 1.0, key: PRNGKey
) -> Convolution:
    """One whose output varies as much as its input, times the gain, and has no bias at first."""
    layer = Convolution(n_in, n_out, size, stride=stride, padding=padding, key=key)
    weight = gain * 3**0.5 * layer.weight  # which are uniform, with a third of the variance
    return eqx.tree_at(lambda own: (own.weight, own.bias), layer, (weight, jnp.zeros(n_out)))


def _to_patches(x: Image) -> Float[Array, "patch_row patch_column all"]:
    height, width, n = x.shape
    parts = x.reshape(height // PATCH, PATCH, width // PATCH, PATCH, n)
    return parts.transpose(0, 2, 1, 3, 4).reshape(height // PATCH, width // PATCH, -1)


def _from_patches(x: Float[Array, "patch_row patch_column all"]) -> Image:
    height, width, n = x.shape
    parts = x.reshape(height, width, PATCH, PATCH, n // PATCH**2)
    return parts.transpose(0, 2, 1, 3, 4).reshape(height * PATCH, width * PATCH, -1)
