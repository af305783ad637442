"""Meaningful perturbations: the smallest smooth mask whose blur takes the class away."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from backthrough.core import PRNGKey, Scalar, check_integer, check_positive
from backthrough.explain.compared.method import (
    ScoreOfOne,
    channel_axis,
    on_features,
    over_units,
    picture_canvas,
)
from backthrough.explain.units import Partition

PAPER_SIDE, PAPER_STRIDE = 224, 8
PAPER_CELLS = (PAPER_SIDE // PAPER_STRIDE) ** 2
PAPER_BLUR, PAPER_MASK_BLUR, PAPER_JITTER = 10.0, 5.0, 4.0


@dataclass(frozen=True)
class BBMP:
    """A mask m in [0, 1] at low resolution that minimises the class's probability where it blurs the picture.

    Fong and Vedaldi 2017, eq. 7, with the settings of their code for 224 x 224 pixels; lengths that are
    None shrink with the picture. The loss is p(class | m x + (1 - m) blurred x) + l1 sum(1 - m) + tv sum
    |grad m|^3, where the sums are those over 28 x 28 cells of the paper, whatever the number of cells here.
    The map is 1 - m. The mask starts at 1, and is clipped after each step of Adam. The blur leaks what it
    hides.

    Attributes:
        n_steps: Steps.
        rate: Of Adam.
        l1: Price of a hidden cell.
        tv: Price of the mask's roughness.
        beta: Power of differences between neighbouring cells in it.
        stride: Pixels of a cell; 8 of 224.
        blur: Standard deviation of the blur that stands for nothing, in pixels; 10 of 224.
        mask_blur: Standard deviation of the mask's blur; 5 of 224.
        jitter: Most pixels by which picture and mask are moved at a step; 4 of 224.

    Example:
        >>> from backthrough.explain.adapt import JaxModel
        >>> from backthrough.explain.compared import saliency
        >>> x = np.zeros((1, 16, 16, 1))
        >>> x[0, 8, 4] = 1
        >>> model = JaxModel(lambda x: 9 * x[8, 4] - 4, outputs="sigmoid")
        >>> found = saliency(model, x, method=BBMP(n_steps=50, jitter=0), key=jax.random.key(0))
        >>> bool(found[0, 8, 4] > 0.5)
        True
    """

    n_steps: int = 300
    rate: float = 0.1
    l1: float = 1e-4
    tv: float = 1e-2
    beta: float = 3.0
    stride: int | None = None
    blur: float | None = None
    mask_blur: float | None = None
    jitter: int | None = None
    needs_gradient: ClassVar[bool] = True
    is_random: ClassVar[bool] = True

    def relevance(
        self, score: ScoreOfOne, x: Float[Array, "..."], partition: Partition, *, key: PRNGKey | None
    ) -> Float[Array, "..."]:
        """See `Method`."""
        check_integer("n_steps", self.n_steps, minimum=1)
        for name in ("rate", "beta"):
            check_positive(name, getattr(self, name))
        assert key is not None
        size = picture_canvas(partition, "BBMP")
        part = min(size) / PAPER_SIDE
        stride = max(1, round(PAPER_STRIDE * part)) if self.stride is None else self.stride
        jitter = round(PAPER_JITTER * part) if self.jitter is None else self.jitter
        check_integer("stride", stride, minimum=1)
        check_integer("jitter", jitter, minimum=0)
        cells = tuple(-(-length // stride) for length in size)
        smooth = [
            blur_matrix(n, PAPER_MASK_BLUR * part if self.mask_blur is None else self.mask_blur) for n in size
        ]
        strong = [blur_matrix(n, PAPER_BLUR * part if self.blur is None else self.blur) for n in size]
        axes = (1, 2) if channel_axis(partition) == 0 else (0, 1)
        blurred = along(x, strong, axes)
        per_cell = PAPER_CELLS / np.prod(cells)
        optimiser = optax.adam(self.rate)

        def upsampled(mask: Array) -> Array:
            return along(jax.image.resize(mask, size, "linear"), smooth, (0, 1))

        def loss(mask: Array, own: PRNGKey) -> Scalar:
            moved = jax.random.randint(own, (2,), -jitter, jitter + 1)
            kept = on_features(upsampled(mask), partition)
            shown = jnp.roll(kept * x + (1 - kept) * blurred, moved, axes)
            rough = sum(jnp.sum(safe_power(jnp.diff(mask, axis=axis), self.beta)) for axis in (0, 1))
            return jax.nn.sigmoid(score(shown)) + per_cell * (self.l1 * jnp.sum(1 - mask) + self.tv * rough)

        def step(state: Any, own: PRNGKey) -> tuple[Any, None]:
            mask, memory = state
            updates, memory = optimiser.update(jax.grad(loss)(mask, own), memory)
            return (jnp.clip(mask + updates, 0, 1), memory), None

        start = jnp.ones(cells, x.dtype)
        (mask, _), _ = jax.lax.scan(step, (start, optimiser.init(start)), jax.random.split(key, self.n_steps))
        return over_units(1 - upsampled(mask), partition)


def blur_matrix(length: int, deviation: float) -> Float[np.ndarray, "length length"]:
    """Gaussian weights of each place for every place, which sum to 1; the identity for a deviation of 0."""
    if deviation <= 0:
        return np.eye(length, dtype=np.float32)
    apart = np.arange(length)[:, None] - np.arange(length)
    weights = np.exp(-0.5 * (apart / deviation) ** 2)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def along(x: Float[Array, "..."], matrices: list[np.ndarray], axes: tuple[int, int]) -> Float[Array, "..."]:
    """Each matrix applied along its axis."""
    for matrix, axis in zip(matrices, axes, strict=True):
        x = jnp.moveaxis(jnp.tensordot(jnp.asarray(matrix, x.dtype), x, (1, axis)), 0, axis)
    return x


def safe_power(values: Float[Array, "..."], power: float) -> Float[Array, "..."]:
    """|values| ** power, with derivative 0 at 0."""
    size = jnp.where(values == 0, 1.0, jnp.abs(values))
    return jnp.where(values == 0, 0.0, size**power)
