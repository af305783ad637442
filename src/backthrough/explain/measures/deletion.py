"""Deletion and insertion: the score while what a map ranks highest is hidden, or shown, bit by bit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float, Int

from backthrough.core import ArgumentError, PRNGKey, Scalar, check_integer, check_key
from backthrough.explain.compared.method import on_features
from backthrough.explain.infill.infiller import Infiller
from backthrough.explain.measures.maps import as_maps
from backthrough.explain.problem import CLIP, make_problem
from backthrough.explain.units import Partition, Pixels, Units

ROUNDING = 1e-9  # of sums of areas


@dataclass(frozen=True)
class Curve:
    """Scores along a ranking.

    Attributes:
        fraction: Of the area that is hidden (deletion) or shown (insertion), from 0 to 1.
        score: At each fraction, the mean over draws of the infiller.
        probability: The mean of sigmoid(score) over the same draws: of the class where the score is its
            log-odds.
    """

    fraction: Float[np.ndarray, "step"]
    score: Float[np.ndarray, "example step"]
    probability: Float[np.ndarray, "example step"]

    @property
    def score_area(self) -> Float[np.ndarray, "example"]:
        """The area under each score, by the trapezium rule."""
        return np.trapezoid(self.score, self.fraction, axis=1)

    @property
    def probability_area(self) -> Float[np.ndarray, "example"]:
        """The area under each probability: what Petsiuk et al. 2018 report."""
        return np.trapezoid(self.probability, self.fraction, axis=1)

    def table(self) -> pd.DataFrame:
        """Means over the inputs, a row a fraction."""
        return pd.DataFrame(
            {
                "fraction": self.fraction,
                "score": self.score.mean(axis=0),
                "probability": self.probability.mean(axis=0),
            }
        )


def deletion_curve(
    model: Any,
    x: Any,
    maps: Any,
    *,
    infill: Infiller,
    key: PRNGKey,
    target: int | Sequence[int] | Int[np.ndarray, "example"] | None = None,
    units: Units | None = None,
    n_steps: int = 20,
    n_samples: int = 1,
    score: Callable[[Array], Scalar] | None = None,
    clip: float = CLIP,
) -> Curve:
    """Hides units from the highest on, until all are hidden; a good map makes the score fall at once.

    Samek et al. 2017 (pixel flipping); Petsiuk et al. 2018 (deletion). What is hidden is drawn anew by the
    infiller, as Chang et al. 2019 do. Units with equal values come in random order.

    Args:
        model: Anything that `adapt` takes.
        x: Inputs with a leading axis.
        maps: Shape (example, *canvas); each unit is ranked by the mean over its places.
        infill: Draws what is hidden.
        key: Typed key; the same draws serve all fractions of an input.
        target: A class for all, one for each, or None for what the model predicts.
        units: What is hidden as one; `Pixels()` when None.
        n_steps: Fractions after 0.
        n_samples: Draws at each.
        score: Maps the outputs of one input to what is measured, in place of a class's log-odds.
        clip: How far probabilities are kept from 0 and 1, as in `explain`.

    Raises:
        ArgumentError: if the maps have another shape, or whatever `make_problem` refuses.
        DataError: for inputs or maps that are not finite.

    Example:
        >>> from backthrough.explain.infill import Constant
        >>> from backthrough.explain.units import Columns
        >>> def model(x):
        ...     return jnp.stack([0 * x[0], 3 * x[0] + x[1]])
        >>> options = {"infill": Constant(0.0), "units": Columns(), "key": jax.random.key(0)}
        >>> x = np.array([[1.0, 1.0]])
        >>> curve = deletion_curve(model, x, [[0.0, 9.0]], target=1, n_steps=2, **options)
        >>> curve.score.tolist()
        [[4.0, 3.0, 0.0]]
    """
    return _curve(model, x, maps, infill, key, target, units, n_steps, n_samples, score, clip, hides=True)


def insertion_curve(
    model: Any,
    x: Any,
    maps: Any,
    *,
    infill: Infiller,
    key: PRNGKey,
    target: int | Sequence[int] | Int[np.ndarray, "example"] | None = None,
    units: Units | None = None,
    n_steps: int = 20,
    n_samples: int = 1,
    score: Callable[[Array], Scalar] | None = None,
    clip: float = CLIP,
) -> Curve:
    """Shows units from the highest on, until all are shown; a good map makes the score rise at once.

    Petsiuk et al. 2018. Arguments and errors are those of `deletion_curve`.

    Example:
        >>> from backthrough.explain.infill import Constant
        >>> from backthrough.explain.units import Columns
        >>> def model(x):
        ...     return jnp.stack([0 * x[0], 3 * x[0] + x[1]])
        >>> options = {"infill": Constant(0.0), "units": Columns(), "key": jax.random.key(0)}
        >>> x = np.array([[1.0, 1.0]])
        >>> insertion_curve(model, x, [[0.0, 9.0]], target=1, n_steps=2, **options).score_area.tolist()
        [1.5]
    """
    return _curve(model, x, maps, infill, key, target, units, n_steps, n_samples, score, clip, hides=False)


def _curve(
    model: Any,
    x: Any,
    maps: Any,
    infill: Infiller,
    key: PRNGKey,
    target: Any,
    units: Units | None,
    n_steps: int,
    n_samples: int,
    score: Callable[[Array], Scalar] | None,
    clip: float,
    *,
    hides: bool,
) -> Curve:
    check_integer("n_steps", n_steps, minimum=1)
    check_integer("n_samples", n_samples, minimum=1)
    check_key(key)
    if not isinstance(infill, Infiller):
        raise ArgumentError(f"infill must be an Infiller with a method sample, got {infill!r}")
    problem = make_problem(model, x, target, score=score, clip=clip)
    partition = (Pixels() if units is None else units).cut(problem.x.shape[1:])
    array = as_maps(maps, canvas=partition.canvas.shape, signed=True)
    if len(array) != len(problem.x):
        raise ArgumentError(f"there are {len(array)} maps for {len(problem.x)} inputs")
    order_key, draw_key = jax.random.split(key)
    ends = ranked_area(array, partition, key=order_key)
    fraction = np.linspace(0, 1, n_steps + 1)
    limits = jnp.asarray(fraction + ROUNDING)

    def at(limit: Array, x: Array, target: Array, end: Array, key: PRNGKey) -> tuple[Array, Array]:
        is_first = on_features((end <= limit)[partition.canvas], partition)
        drawn = infill.sample(x, ~is_first if hides else is_first, key=key, n_samples=n_samples)
        scores = jax.vmap(lambda shown: problem.score(shown, target))(drawn)
        return scores.mean(), jax.nn.sigmoid(scores).mean()

    @eqx.filter_jit
    def along(limits: Array, *examples: Array) -> tuple[Array, Array]:
        return jax.lax.map(lambda limit: jax.vmap(at, (None, 0, 0, 0, 0))(limit, *examples), limits)

    keys = jax.random.split(draw_key, len(array))
    scores, probabilities = along(limits, problem.x, problem.target, jnp.asarray(ends), keys)
    return Curve(fraction, np.array(scores, float).T, np.array(probabilities, float).T)


def ranked_area(
    maps: Float[np.ndarray, "example ..."], partition: Partition, *, key: PRNGKey
) -> Float[np.ndarray, "example unit"]:
    """The area of all units that come no later than each: the highest first, equal ones in random order."""
    flat = maps.reshape(len(maps), -1)
    labels = partition.canvas.reshape(-1)
    values = np.stack([np.bincount(labels, weights=row) for row in flat]) / np.bincount(labels)
    values = values.astype(np.float32)  # what rounding made different is equal
    chance = np.asarray(jax.random.uniform(key, values.shape))
    ends = np.empty(values.shape)
    for row in range(len(values)):
        order = np.lexsort((chance[row], -values[row]))
        ends[row, order] = np.cumsum(partition.area[order])
    return ends
