"""Infillers of images by the pixels around: a blur, which leaks, and the mean of those that are kept."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Shaped

from backthrough.core import ArgumentError, PRNGKey, check_finite, check_integer, check_positive
from backthrough.explain.infill.infiller import Example, Mask, hide, keep, repeat
from backthrough.explain.infill.layout import Channels, check_channels, from_last, to_last

REACH = 4  # standard deviations to which a Gaussian is followed, as in SciPy


class Blur(eqx.Module):
    """Hidden pixels get those of the image blurred by a Gaussian: they are read, so they leak.

    For comparison with public code only, which takes a standard deviation of 10 pixels at 224.

    Attributes:
        sigma: Standard deviation in pixels.
        channels: Layout of the image.

    Examples:
        >>> x, mask = jnp.ones((8, 8)), jnp.zeros((8, 8), bool)
        >>> draws = Blur(2.0, channels=None).sample(x, mask, key=jax.random.key(0), n_samples=1)
        >>> bool(jnp.allclose(draws, 1))
        True
    """

    sigma: float = eqx.field(static=True)
    channels: Channels = eqx.field(static=True)
    conditional: bool = eqx.field(default=False, init=False, static=True)
    leaks: bool = eqx.field(default=True, init=False, static=True)

    def __init__(self, sigma: float, *, channels: Channels = "last"):
        self.sigma = check_positive("sigma", sigma)
        check_channels(channels)
        self.channels = channels

    def sample(self, x: Example, mask: Mask, *, key: PRNGKey, n_samples: int) -> Shaped[Array, "sample ..."]:
        """As `Infiller.sample`; all draws are the same."""
        image = to_last(x.astype(jnp.promote_types(x.dtype, jnp.float32)), self.channels)
        blurred = _both_ways(image, lambda size: _gaussian(size, self.sigma))
        return keep(x, mask, repeat(from_last(blurred, self.channels), n_samples))


class LocalMean(eqx.Module):
    """Hidden pixels get the mean of those that are kept in a square window around them.

    The "local" infill of Chang et al. 2019, who take 15 x 15 pixels at 224.

    Attributes:
        default: What is filled in where no pixel of the window is kept, one number or one for each channel.
        window: Side of the window in pixels, odd.
        channels: Layout of the image.

    Examples:
        >>> x = jnp.array([[1.0, 9.0, 3.0]])
        >>> mask = jnp.array([[True, False, True]])
        >>> infiller = LocalMean(3, channels=None)
        >>> infiller.sample(x, mask, key=jax.random.key(0), n_samples=1).tolist()
        [[[1.0, 2.0, 3.0]]]
    """

    default: Float[Array, "*channel"]
    window: int = eqx.field(static=True)
    channels: Channels = eqx.field(static=True)
    conditional: bool = eqx.field(default=True, init=False, static=True)
    leaks: bool = eqx.field(default=False, init=False, static=True)

    def __init__(self, window: int = 15, *, default: ArrayLike = 0.0, channels: Channels = "last"):
        self.window = check_integer("window", window, minimum=3)
        if not self.window % 2:
            raise ArgumentError(f"window must be odd, so that a pixel is in its middle, got {window}")
        check_channels(channels)
        self.channels = channels
        self.default = jnp.asarray(check_finite("default", np.asarray(default)), float)

    def sample(self, x: Example, mask: Mask, *, key: PRNGKey, n_samples: int) -> Shaped[Array, "sample ..."]:
        """As `Infiller.sample`; all draws are the same."""
        image = hide(x, mask)
        sums, counts = (
            _both_ways(to_last(own, self.channels), lambda size: _box(size, self.window))
            for own in (image, mask.astype(image.dtype))
        )
        means = jnp.where(counts > 0.5, sums / jnp.maximum(counts, 1), self.default)
        return keep(x, mask, repeat(from_last(means, self.channels), n_samples))


def _both_ways(
    image: Shaped[Array, "height width channel"], weights: Callable[[int], Float[np.ndarray, "size size"]]
) -> Shaped[Array, "height width channel"]:
    """Weighted sums of pixels along both sides; `weights` gives those for a side's length."""
    height, width = (jnp.asarray(weights(size), image.dtype) for size in image.shape[:2])
    return jnp.einsum("ij,jkc,lk->ilc", height, image, width, precision=jax.lax.Precision.HIGHEST)


def _gaussian(size: int, sigma: float) -> Float[np.ndarray, "size size"]:
    """Weights of all pixels of a line for each of them; what lies beyond the edge is like the edge."""
    reach = int(REACH * sigma + 0.5)
    steps = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (steps / sigma) ** 2)
    weights /= weights.sum()
    matrix = np.zeros((size, size))
    for step, weight in zip(steps, weights, strict=True):
        at = np.arange(size)
        np.add.at(matrix, (at, np.clip(at + step, 0, size - 1)), weight)
    return matrix


def _box(size: int, window: int) -> Float[np.ndarray, "size size"]:
    """Ones where another pixel of a line lies in the window around one."""
    at = np.arange(size)
    return (np.abs(at[:, None] - at) <= window // 2).astype(np.float64)
