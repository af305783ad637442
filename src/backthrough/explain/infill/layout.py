"""Where an image has its channels."""

from typing import Literal, TypeAlias, get_args

import jax.numpy as jnp
from jaxtyping import Array, Shaped

from backthrough.core import ArgumentError, check_choice

Channels: TypeAlias = Literal["last", "first"] | None
"""(height, width, channel), (channel, height, width), or (height, width)."""

NAMES = get_args(get_args(Channels)[0])


def check_channels(channels: str | None) -> None:
    """Raises `ArgumentError` unless it is one of the three layouts."""
    if channels is not None:
        check_choice("channels", channels, NAMES)


def to_last(x: Shaped[Array, "..."], channels: Channels) -> Shaped[Array, "height width channel"]:
    """The image with its channels last.

    Raises:
        ArgumentError: if it has other axes than the layout says.
    """
    n_axes = 2 if channels is None else 3
    if x.ndim != n_axes:
        told = {"last": "(height, width, channel)", "first": "(channel, height, width)"}
        raise ArgumentError(
            f"with channels={channels!r} an example is {told.get(channels or '', '(height, width)')}, got "
            f"shape {x.shape}"
        )
    if channels is None:
        return x[..., None]
    return jnp.moveaxis(x, 0, -1) if channels == "first" else x


def from_last(x: Shaped[Array, "height width channel"], channels: Channels) -> Shaped[Array, "..."]:
    """The inverse of `to_last`."""
    if channels is None:
        return x[..., 0]
    return jnp.moveaxis(x, -1, 0) if channels == "first" else x
