"""What a method of saliency is, and how values of features become a map."""

from collections.abc import Callable
from typing import ClassVar, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from backthrough.core import ArgumentError, PRNGKey, Scalar
from backthrough.explain.units import Partition

ScoreOfOne = Callable[[Array], Scalar]
CHUNK = 8  # masks of an example that a model sees at once


@runtime_checkable
class Method(Protocol):
    """A way to say how much each place of ONE example matters to a score.

    Attributes:
        needs_gradient: Whether it differentiates the score.
        is_random: Whether it needs a key.
    """

    needs_gradient: ClassVar[bool]
    is_random: ClassVar[bool]

    def relevance(
        self, score: ScoreOfOne, x: Float[Array, "..."], partition: Partition, *, key: PRNGKey | None
    ) -> Float[Array, "..."]:
        """A value for each place of the partition's canvas; a large one is important to the score.

        Raises:
            ArgumentError: if it cannot be had for such examples.
        """
        ...


def channel_axis(partition: Partition) -> int | None:
    """The axis of examples that the canvas leaves out, or None."""
    labels, canvas = partition.labels, partition.canvas
    if labels.ndim == canvas.ndim:
        return None
    last = labels.shape[:-1] == canvas.shape and bool((labels == canvas[..., None]).all())
    return labels.ndim - 1 if last else 0


def strongest(values: Float[Array, "..."], partition: Partition) -> Float[Array, "..."]:
    """The largest absolute value of each place's channels (Simonyan et al. 2014, sec. 3.1)."""
    axis = channel_axis(partition)
    return jnp.abs(values) if axis is None else jnp.abs(values).max(axis=axis)


def summed(values: Float[Array, "..."], partition: Partition) -> Float[Array, "..."]:
    """The sum over each place's channels, with its sign."""
    axis = channel_axis(partition)
    return values if axis is None else values.sum(axis=axis)


def over_units(values: Float[Array, "..."], partition: Partition) -> Float[Array, "..."]:
    """The mean of each unit, at all of its places."""
    labels = partition.canvas.reshape(-1)
    if partition.n_units == labels.size:
        return values
    sums = jax.ops.segment_sum(values.reshape(-1), labels, partition.n_units)
    means = sums / np.bincount(labels)
    return means[labels].reshape(values.shape)


def on_features(places: Array, partition: Partition) -> Array:
    """Values of places at every feature of an example: the same for all channels."""
    axis = channel_axis(partition)
    widened = places if axis is None else jnp.expand_dims(places, axis)
    return jnp.broadcast_to(widened, partition.labels.shape)


def picture_canvas(partition: Partition, name: str) -> tuple[int, int]:
    """Height and width of the canvas.

    Raises:
        ArgumentError: if it is no picture's.
    """
    shape = partition.canvas.shape
    if len(shape) != 2 or partition.centres.shape[1] != 2:
        raise ArgumentError(
            f"{name} is for pictures, got units on a canvas of shape {shape}: use Occlusion()"
        )
    return shape
