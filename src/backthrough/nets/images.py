"""Layers for images whose channels come last, quick inside loops and solvers on a CPU too."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from backthrough.core import ArgumentError, PRNGKey, check_integer

Image = Float[Array, "height width channel"]


class Convolution(eqx.Module):
    """A two-dimensional convolution of one image as one matrix product of its patches.

    XLA's own convolution leaves its fast path on a CPU inside a `scan` or a `while_loop`, so in every
    solver and every training loop; the product of patches stays 15 to 30 times as fast there.

    Attributes:
        weight: Shape (kernel * kernel * channels in, channels out); rows run over height, width, channel.
        bias: Shape (channels out,).
        kernel_size: Height and width of the window.
        stride: Pixels between windows.
        padding: Zeros added at every side.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> layer = Convolution(1, 8, 3, padding=1, key=jax.random.key(0))
        >>> layer(jnp.zeros((28, 28, 1))).shape
        (28, 28, 8)
    """

    weight: Float[Array, "patch out"]
    bias: Float[Array, "out"]
    kernel_size: int = eqx.field(static=True)
    stride: int = eqx.field(static=True)
    padding: int = eqx.field(static=True)

    def __init__(
        self,
        n_in: int,
        n_out: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        key: PRNGKey,
    ):
        check_integer("n_in", n_in, minimum=1)
        check_integer("n_out", n_out, minimum=1)
        self.kernel_size = check_integer("kernel_size", kernel_size, minimum=1)
        self.stride = check_integer("stride", stride, minimum=1)
        self.padding = check_integer("padding", padding, minimum=0)
        size = kernel_size**2 * n_in
        weight_key, bias_key = jax.random.split(key)
        reach = size**-0.5
        self.weight = jax.random.uniform(weight_key, (size, n_out), minval=-reach, maxval=reach)
        self.bias = jax.random.uniform(bias_key, (n_out,), minval=-reach, maxval=reach)

    def __call__(self, x: Image, *, key: PRNGKey | None = None) -> Float[Array, "new_height new_width out"]:
        """The convolved image.

        Raises:
            ArgumentError: if the image has other channels than the layer, or is smaller than the window.
        """
        return self.patches(x) @ self.weight + self.bias

    def patches(self, x: Image) -> Float[Array, "new_height new_width patch"]:
        """What the window covers at each of its places, in the order of the rows of `weight`.

        Raises:
            ArgumentError: as the convolution itself does.
        """
        size, stride, pad = self.kernel_size, self.stride, self.padding
        if x.shape[2] * size**2 != self.weight.shape[0]:
            n_in = self.weight.shape[0] // size**2
            raise ArgumentError(f"the convolution takes {n_in} channels, the last axis, got shape {x.shape}")
        x = jnp.pad(x, ((pad, pad), (pad, pad), (0, 0)))
        height, width = (1 + (length - size) // stride for length in x.shape[:2])
        if height < 1 or width < 1:
            raise ArgumentError(f"an image of shape {x.shape} is smaller than the {size} x {size} window")
        across = [x[:, j : j + stride * (width - 1) + 1 : stride] for j in range(size)]
        x = jnp.concatenate(across, axis=-1)
        down = [x[i : i + stride * (height - 1) + 1 : stride] for i in range(size)]
        return jnp.concatenate(down, axis=-1)


class GroupNorm(eqx.Module):
    """Normalises groups of channels of one image to mean 0 and variance 1, then scales and shifts each.

    Wu and He 2018. Unlike batch normalisation it depends on nothing but the example itself, as a vector
    field must.

    Attributes:
        scale: Shape (channels,).
        shift: Shape (channels,).
        n_groups: Into how many groups neighbouring channels are put.
    """

    scale: Float[Array, "channel"]
    shift: Float[Array, "channel"]
    n_groups: int = eqx.field(static=True)

    def __init__(self, n_channels: int, n_groups: int):
        check_integer("n_channels", n_channels, minimum=1)
        self.n_groups = check_integer("n_groups", n_groups, minimum=1)
        if n_channels % n_groups:
            raise ArgumentError(f"n_groups must divide the {n_channels} channels, got {n_groups}")
        self.scale, self.shift = jnp.ones(n_channels), jnp.zeros(n_channels)

    def __call__(self, x: Image, *, key: PRNGKey | None = None) -> Image:
        """The normalised image."""
        parts = x.reshape(*x.shape[:2], self.n_groups, -1)
        mean = jnp.mean(parts, axis=(0, 1, 3), keepdims=True)
        centred = parts - mean
        variance = jnp.mean(jnp.square(centred), axis=(0, 1, 3), keepdims=True)
        return (centred * jax.lax.rsqrt(variance + 1e-5)).reshape(x.shape) * self.scale + self.shift
