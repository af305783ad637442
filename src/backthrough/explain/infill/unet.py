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
        self.first = convolution(width, width, 3, padding=1, gain=RELU, key=first)
        self.second = convolution(width, width, 3, padding=1, gain=RESIDUAL, key=second)

    def __call__(self, x: Image) -> Image:
        """The block's output."""
        return x + self.second(jax.nn.relu(self.first(jax.nn.relu(x))))


class Down(eqx.Module):
    """The way down: convolutions at falling resolutions.

    Attributes:
        entry: From the pixels of a patch to channels.
        blocks: From the finest resolution to the last but one.
        shrink: Convolutions between them, that halve both sides.
        bottom: The block at the coarsest resolution.
    """

    entry: Convolution
    blocks: tuple[Residual, ...]
    shrink: tuple[Convolution, ...]
    bottom: Residual

    def __init__(self, n_in: int, widths: tuple[int, ...], *, key: PRNGKey):
        entry, block, shrink, bottom = jax.random.split(key, 4)
        steps = list(itertools.pairwise(widths))
        self.entry = convolution(n_in * PATCH**2, widths[0], 3, padding=1, key=entry)
        self.blocks = tuple(
            Residual(fine, key=own)
            for (fine, _), own in zip(steps, jax.random.split(block, len(steps)), strict=True)
        )
        self.shrink = tuple(
            convolution(fine, coarse, 2, stride=2, key=own)
            for (fine, coarse), own in zip(steps, jax.random.split(shrink, len(steps)), strict=True)
        )
        self.bottom = Residual(widths[-1], key=bottom)

    def __call__(self, image: Image) -> tuple[Float[Array, "row column coarse"], list[Array]]:
        """Channels at the coarsest resolution, and those of the others on the way."""
        x = self.entry(_to_patches(image))
        passed = []
        for block, shrink in zip(self.blocks, self.shrink, strict=True):
            x = block(x)
            passed.append(x)
            x = shrink(x)
        return self.bottom(x), passed


class Up(eqx.Module):
    """The way back up, on which each resolution sees that of the way down.

    Attributes:
        widen: From the channels of both resolutions to those of the finer one.
        blocks: From the finest resolution to the last but one.
        exit: To the pixels of a patch.
        refine: Two layers on single pixels, which see the image as it came and what was made of it.
    """

    widen: tuple[Convolution, ...]
    blocks: tuple[Residual, ...]
    exit: Convolution
    refine: tuple[Convolution, Convolution]

    def __init__(self, n_in: int, n_out: int, widths: tuple[int, ...], *, key: PRNGKey):
        widen, block, exit, first, second = jax.random.split(key, 5)
        steps = list(itertools.pairwise(widths))
        self.widen = tuple(
            convolution(fine + coarse, fine, 1, key=own)
            for (fine, coarse), own in zip(steps, jax.random.split(widen, len(steps)), strict=True)
        )
        self.blocks = tuple(
            Residual(fine, key=own)
            for (fine, _), own in zip(steps, jax.random.split(block, len(steps)), strict=True)
        )
        self.exit = convolution(widths[0], n_out * PATCH**2, 3, padding=1, gain=RELU, key=exit)
        self.refine = (
            convolution(n_in + n_out, FINE, 3, padding=1, key=first),
            convolution(FINE, n_out, 3, padding=1, gain=RESIDUAL, key=second),
        )

    def __call__(
        self, x: Float[Array, "row column coarse"], passed: list[Array], image: Image
    ) -> Float[Array, "height width out"]:
        """An image of the sides of the one that came."""
        for block, widen, fine in reversed(list(zip(self.blocks, self.widen, passed, strict=True))):
            x = jnp.repeat(jnp.repeat(x, 2, axis=0), 2, axis=1)
            x = block(widen(jnp.concatenate([fine, x], axis=-1)))
        coarse = _from_patches(self.exit(jax.nn.relu(x)))
        first, second = self.refine
        return coarse + second(jax.nn.relu(first(jnp.concatenate([image, coarse], axis=-1))))


class UNet(eqx.Module):
    """Convolutions at falling and rising resolutions, joined at each (Ronneberger et al. 2015).

    Every two by two pixels are taken together first, which makes it four times as fast. Images of any size
    are filled up with zeros.

    Attributes:
        down: The way down.
        up: The way back.
    """

    down: Down
    up: Up

    def __init__(self, n_in: int, n_out: int, widths: tuple[int, ...], *, key: PRNGKey):
        down, up = jax.random.split(key)
        self.down = Down(n_in, widths, key=down)
        self.up = Up(n_in, n_out, widths, key=up)

    def __call__(self, x: Image) -> Float[Array, "height width out"]:
        """An image of the same sides."""
        image = filled_up(x, len(self.down.blocks))
        return self.up(*self.down(image), image)[: x.shape[0], : x.shape[1]]


def filled_up(x: Image, n_halvings: int) -> Float[Array, "new_height new_width channel"]:
    """The image with zeros below and on the right, so that its sides can be halved so often."""
    unit = PATCH * 2**n_halvings
    height, width, _ = x.shape
    return jnp.pad(x, ((0, -height % unit), (0, -width % unit), (0, 0)))


def convolution(
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
