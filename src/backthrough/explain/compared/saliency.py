"""`saliency`: one door to the methods that explanations are compared with."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, Int

from backthrough.core import ArgumentError, PRNGKey, Scalar, check_key
from backthrough.explain.compared.method import Method
from backthrough.explain.problem import CLIP, make_problem
from backthrough.explain.units import Pixels, Units


def saliency(
    model: Any,
    x: Any,
    *,
    method: Method,
    target: int | Sequence[int] | Int[np.ndarray, "example"] | None = None,
    units: Units | None = None,
    score: Callable[[Array], Scalar] | None = None,
    clip: float = CLIP,
    key: PRNGKey | None = None,
) -> Float[np.ndarray, "example ..."]:
    """Maps of how much each place matters, one for each input; the program is compiled once for all.

    Args:
        model: Anything that `adapt` takes; what differentiates refuses black boxes.
        x: Inputs with a leading axis.
        method: `Gradient()`, `IntegratedGradients()`, `SmoothGrad()`, `Occlusion()`, `RISE()` or `BBMP()`.
        target: A class for all, one for each, or None for what the model predicts.
        units: What counts as one; values are means over each. `Pixels()` when None.
        score: Maps the outputs of one input to what is explained, in place of a class's log-odds.
        clip: How far probabilities are kept from 0 and 1, as in `explain`.
        key: Typed key, for a method that draws.

    Returns:
        Shape (example, *canvas), such as (example, height, width) for pictures: large where the score is
        supported.

    Raises:
        ArgumentError: for a method that needs a gradient and a model without, one that draws and no key, or
            whatever `make_problem` and the method refuse.
        DataError: for inputs that are not finite.

    Example:
        >>> from backthrough.explain.compared import IntegratedGradients
        >>> from backthrough.explain.units import Columns
        >>> weights = np.array([[0.0, 1.0], [0.0, -2.0]])
        >>> x = np.array([[3.0, -1.0]])
        >>> found = saliency(
        ...     lambda x: x @ weights, x, target=1, method=IntegratedGradients(), units=Columns()
        ... )
        >>> found.round(3).tolist()
        [[3.0, 2.0]]
    """
    if isinstance(method, type) or not isinstance(method, Method):
        raise ArgumentError(f"method must be one such as Gradient(), Occlusion() or RISE(), got {method!r}")
    problem = make_problem(model, x, target, score=score, clip=clip)
    name = type(method).__name__
    if method.needs_gradient and not problem.bound.differentiable:
        raise ArgumentError(
            f"{name} needs the model's gradient, and this model has none: use Occlusion() or RISE()"
        )
    keys = None
    if method.is_random:
        if key is None:
            raise ArgumentError(f"{name} draws: give key=jax.random.key(0)")
        check_key(key)
        keys = jax.random.split(key, len(problem.x))
    partition = (Pixels() if units is None else units).cut(problem.x.shape[1:])

    def one(x: Array, target: Array, key: PRNGKey | None) -> Array:
        return method.relevance(lambda shown: problem.score(shown, target), x, partition, key=key)

    return np.array(eqx.filter_jit(jax.vmap(one))(problem.x, problem.target, keys))
