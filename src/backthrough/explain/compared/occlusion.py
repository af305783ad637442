"""Occlusion: how far the score falls when a part is hidden."""

import itertools
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from backthrough.core import ArgumentError, PRNGKey, check_integer
from backthrough.explain.compared.gradients import as_baseline
from backthrough.explain.compared.method import CHUNK, ScoreOfOne, on_features
from backthrough.explain.infill.infiller import Infiller
from backthrough.explain.units import Partition


@dataclass(frozen=True, eq=False)
class Occlusion:
    """The mean fall of the score over all windows that hide a place; any model can be asked.

    Zeiler and Fergus 2014, sec. 4.2 (a grey square). With an infiller it is the fall when the hidden part is
    drawn anew, given the rest (prediction difference analysis: Zintgraf et al. 2017).

    Attributes:
        window: Side of the square, in places of the canvas; every unit is hidden by itself when None.
        stride: Places between windows; half a window when None. A last window touches the far edge.
        baseline: What stands in a window: a number, or an array that broadcasts to an example.
        infill: Draws what stands there in place of the baseline.
        n_samples: Draws for each window.

    Example:
        >>> from backthrough.explain.adapt import NumpyModel
        >>> from backthrough.explain.compared import saliency
        >>> from backthrough.explain.units import Columns
        >>> model = NumpyModel(lambda rows: rows @ np.array([[2.0], [-3.0]]), outputs="sigmoid")
        >>> saliency(model, np.array([[1.0, 5.0]]), method=Occlusion(), units=Columns()).tolist()
        [[2.0, -15.0]]
    """

    window: int | None = None
    stride: int | None = None
    baseline: Any = 0.0
    infill: Infiller | None = None
    n_samples: int = 1
    needs_gradient: ClassVar[bool] = False

    @property
    def is_random(self) -> bool:
        """Whether there is an infiller."""
        return self.infill is not None

    def relevance(
        self, score: ScoreOfOne, x: Float[Array, "..."], partition: Partition, *, key: PRNGKey | None
    ) -> Float[Array, "..."]:
        """See `Method`."""
        check_integer("n_samples", self.n_samples, minimum=1)
        baseline = as_baseline(self.baseline, x)
        canvas = jnp.asarray(partition.canvas)
        places = self.places(partition)
        n_chunks = -(-len(places) // CHUNK)
        filled = np.resize(places, (n_chunks, CHUNK, places.shape[1]))
        counts = (np.arange(n_chunks * CHUNK) < len(places)).reshape(n_chunks, CHUNK)

        def hidden(place: Int[Array, "axis"]) -> Bool[Array, "..."]:
            if self.window is None:
                return canvas == place[0]
            inside = jnp.ones(canvas.shape, bool)
            for axis, start in enumerate(place):
                along = jax.lax.broadcasted_iota(jnp.int32, canvas.shape, axis)
                inside &= (along >= start) & (along < start + self.window)
            return inside

        def scored(part: Bool[Array, "..."], own: PRNGKey | None) -> Array:
            kept = ~on_features(part, partition)
            if self.infill is None or own is None:
                return score(jnp.where(kept, x, baseline))
            drawn = self.infill.sample(x, kept, key=own, n_samples=self.n_samples)
            return jax.vmap(score)(drawn).mean()

        full = score(x)

        def add(sums: tuple[Array, Array], chunk: Any) -> tuple[tuple[Array, Array], None]:
            falls, times = sums
            own_places, own_counts, own_keys = chunk
            parts = jax.vmap(hidden)(own_places)
            own_falls = full - jax.vmap(scored)(parts, own_keys)
            weights = own_counts.astype(x.dtype)
            falls += jnp.tensordot(weights * own_falls, parts, 1)
            return (falls, times + jnp.tensordot(weights, parts, 1)), None

        keys = None if key is None else jax.random.split(key, (n_chunks, CHUNK))
        start = jnp.zeros(canvas.shape, x.dtype)
        chunks = (jnp.asarray(filled), jnp.asarray(counts), keys)
        (falls, times), _ = jax.lax.scan(add, (start, start), chunks)
        return falls / times

    def places(self, partition: Partition) -> Int[np.ndarray, "window axis"]:
        """The first corner of each window, or the number of each unit; together they hide all.

        Raises:
            ArgumentError: if a window is larger than the canvas, or leaves gaps between windows.
        """
        shape = partition.canvas.shape
        if self.window is None:
            return np.arange(partition.n_units)[:, None]
        window = check_integer("window", self.window, minimum=1)
        stride = check_integer(
            "stride", max(1, window // 2) if self.stride is None else self.stride, minimum=1
        )
        if partition.centres.shape[1] == 0:
            raise ArgumentError("columns have no neighbours: leave window out, and each unit is hidden")
        if window > min(shape):
            raise ArgumentError(f"a window of {window} is larger than the canvas of shape {shape}")
        if stride > window:
            raise ArgumentError(f"a stride of {stride} leaves gaps between windows of {window}")
        starts = [sorted({*range(0, length - window, stride), length - window}) for length in shape]
        return np.array(list(itertools.product(*starts)))
