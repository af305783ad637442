"""RISE: the mean of random soft masks, weighted by the score that they leave."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from backthrough.core import ArgumentError, PRNGKey, check_integer
from backthrough.explain.compared.gradients import as_baseline
from backthrough.explain.compared.method import CHUNK, ScoreOfOne, on_features, over_units, picture_canvas
from backthrough.explain.units import Partition


@dataclass(frozen=True, eq=False)
class RISE:
    """Randomised input sampling; any model can be asked.

    Petsiuk, Das and Saenko 2018, eq. 6: random binary grids are upsampled bilinearly and moved by a random
    part of a cell; the map is the mean of the masks, each weighted by the probability that the model gives
    the class when the picture is multiplied by the mask.

    Attributes:
        n_masks: How many masks; the paper has 4,000 to 8,000.
        cells: Of the grid, along each side.
        p: Probability that a cell is kept.
        baseline: What hidden places fade to: a number, or an array that broadcasts to an example.
        uses_probability: Whether masks are weighted by sigmoid(score), the class's probability where the
            score is its log-odds, as in the paper; otherwise by the score itself.

    Example:
        >>> import numpy as np
        >>> from backthrough.explain.adapt import NumpyModel
        >>> from backthrough.explain.compared import saliency
        >>> model = NumpyModel(lambda rows: rows[:, :, 0, 0].sum(axis=1)[:, None], outputs="sigmoid")
        >>> x = np.ones((1, 9, 9, 1))
        >>> found = saliency(model, x, method=RISE(n_masks=200, cells=3), key=jax.random.key(0))
        >>> bool(found[0, :, 0].mean() > found[0, :, 8].mean())
        True
    """

    n_masks: int = 4000
    cells: int = 7
    p: float = 0.5
    baseline: Any = 0.0
    uses_probability: bool = True
    needs_gradient: ClassVar[bool] = False
    is_random: ClassVar[bool] = True

    def relevance(
        self, score: ScoreOfOne, x: Float[Array, "..."], partition: Partition, *, key: PRNGKey | None
    ) -> Float[Array, "..."]:
        """See `Method`."""
        check_integer("n_masks", self.n_masks, minimum=1)
        check_integer("cells", self.cells, minimum=1)
        if not 0 < self.p < 1:
            raise ArgumentError(f"p must lie between 0 and 1, got {self.p}")
        assert key is not None
        size = picture_canvas(partition, "RISE")
        baseline = as_baseline(self.baseline, x)

        def weighted(keys: Array) -> Array:
            masks = jax.vmap(lambda own: self.mask(own, size, x.dtype))(keys)
            blended = jax.vmap(lambda mask: baseline + on_features(mask, partition) * (x - baseline))(masks)
            scores = jax.vmap(score)(blended)
            weights = jax.nn.sigmoid(scores) if self.uses_probability else scores
            return jnp.tensordot(weights, masks, 1)

        n_chunks = -(-self.n_masks // CHUNK)
        keys = jax.random.split(key, (n_chunks, CHUNK))

        def add(total: Array, own: Array) -> tuple[Array, None]:
            return total + weighted(own), None

        total, _ = jax.lax.scan(add, jnp.zeros(size, x.dtype), keys)
        return over_units(total / (n_chunks * CHUNK * self.p), partition)

    def mask(self, key: PRNGKey, size: tuple[int, int], dtype: Any) -> Float[Array, "height width"]:
        """One mask, in [0, 1]."""
        grid_key, shift_key = jax.random.split(key)
        cell = tuple(-(-length // self.cells) for length in size)
        grid = jax.random.bernoulli(grid_key, self.p, (self.cells, self.cells)).astype(dtype)
        large = jax.image.resize(grid, tuple((self.cells + 1) * side for side in cell), "linear")
        shift = jax.random.randint(shift_key, (2,), 0, jnp.asarray(cell))
        return jax.lax.dynamic_slice(large, shift, size)
