"""Compactness: the smallest part of an input, by a map's ranking, that reaches a score when tried."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Array, Bool, Float, Int

from backthrough.core import PRNGKey, Scalar, check_choice
from backthrough.explain.infill.infiller import Infiller
from backthrough.explain.measures.deletion import deletion_curve, insertion_curve
from backthrough.explain.units import Units


@dataclass(frozen=True)
class Compactness:
    """Hard masks that were tried, not soft ones that were believed.

    Attributes:
        reached: Whether the score is reached before everything is shown, or hidden.
        area: The smallest fraction that reached the score; 1 where none did.
        score: There, the mean over draws.
    """

    reached: Bool[np.ndarray, "example"]
    area: Float[np.ndarray, "example"]
    score: Float[np.ndarray, "example"]

    def table(self) -> pd.DataFrame:
        """A row an input."""
        return pd.DataFrame({"reached": self.reached, "area": self.area, "score": self.score})


def smallest_area(
    model: Any,
    x: Any,
    maps: Any,
    *,
    infill: Infiller,
    key: PRNGKey,
    objective: Literal["keep", "delete"],
    asked: float = 0.0,
    target: int | Sequence[int] | Int[np.ndarray, "example"] | None = None,
    units: Units | None = None,
    n_steps: int = 50,
    n_samples: int = 4,
    score: Callable[[Array], Scalar] | None = None,
) -> Compactness:
    """The smallest area whose hard mask reaches the asked score with what the infiller draws.

    Dabkowski and Gal 2017 and Chang et al. 2019 call a map compact if little of the input is enough to keep
    the class ("keep"), or to lose it when it is hidden ("delete").

    Args:
        model: Anything that `adapt` takes.
        x: Inputs with a leading axis.
        maps: Shape (example, *canvas).
        infill: Draws what is hidden.
        key: Typed key.
        objective: `"keep"`: the top of the ranking is shown, and the score must be at least `asked`;
            `"delete"`: it is hidden, and the score must be at most `asked`.
        asked: The score to be reached; 0, even odds.
        target: A class for all, one for each, or None for what the model predicts.
        units: What is hidden as one; `Pixels()` when None.
        n_steps: Areas that are tried: 0, 1 / n_steps, 2 / n_steps, and so on.
        n_samples: Draws for each.
        score: Maps the outputs of one input to what is measured, in place of a class's log-odds.

    Raises:
        ArgumentError: for another objective, or whatever `deletion_curve` refuses.
        DataError: for inputs or maps that are not finite.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from backthrough.explain.infill import Constant
        >>> from backthrough.explain.units import Columns
        >>> def model(x):
        ...     return jnp.stack([1.5, 3 * x[0] + x[1]])
        >>> options = {"infill": Constant(0.0), "units": Columns(), "key": jax.random.key(0), "target": 1}
        >>> x = np.array([[1.0, 1.0]])
        >>> smallest_area(model, x, [[9.0, 0.0]], objective="keep", n_steps=2, **options).area.tolist()
        [0.5]
    """
    check_choice("objective", objective, ("keep", "delete"))
    curve_of = insertion_curve if objective == "keep" else deletion_curve
    curve = curve_of(
        model, x, maps, infill=infill, key=key, target=target, units=units, n_steps=n_steps,
        n_samples=n_samples, score=score,
    )  # fmt: skip
    return first_reached(curve.fraction, curve.score, asked, objective=objective)


def first_reached(
    fraction: Float[np.ndarray, "step"],
    score: Float[np.ndarray, "example step"],
    asked: float,
    *,
    objective: Literal["keep", "delete"],
) -> Compactness:
    """The first fraction at which a score is reached.

    Example:
        >>> scores = np.array([[-3.0, 1.0, 4.0], [-3.0, -2.0, -1.0]])
        >>> found = first_reached(np.array([0.0, 0.5, 1.0]), scores, 0.0, objective="keep")
        >>> found.table().values.tolist()
        [[True, 0.5, 1.0], [False, 1.0, -1.0]]
    """
    does = score >= asked if objective == "keep" else score <= asked
    first = np.where(does.any(axis=1), does.argmax(axis=1), len(fraction) - 1)
    row = np.arange(len(score))
    return Compactness(does[row, first] & (first < len(fraction) - 1), fraction[first], score[row, first])
