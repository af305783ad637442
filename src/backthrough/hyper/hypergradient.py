"""`hypergradient`: one hypergradient, by any engine."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from backthrough.core import ArgumentError, PRNGKey, PyTree, Scalar, check_key
from backthrough.hyper.engines import Place
from backthrough.hyper.problem import Problem


@dataclass(frozen=True, eq=False)
class Hypergradient:
    """The derivative of the validation loss by the hyperparameters.

    Attributes:
        valid_loss: L_V at the weights.
        gradient: By the coordinates u (see `Real`), shape (h,).
        by_name: The same, as values by name: scalars, arrays, or pytrees like the parameters.
        metrics: What else the engine found; NaN means that the gradient cannot be trusted.
        state: State of the engine afterwards.
    """

    valid_loss: Scalar
    gradient: Float[Array, " hyper"]
    by_name: Mapping[str, Any]
    metrics: Mapping[str, Scalar]
    state: PyTree


def hypergradient(
    problem: Any,
    u: Any = None,
    *,
    engine: Any,
    key: PRNGKey,
    state: PyTree = None,
    batches: PyTree = None,
    valid_batch: PyTree = None,
    scale: float = 0.3,
) -> Hypergradient:
    """dL_V / du where the engine's weights, or its response, are.

    Args:
        problem: The two losses and the space.
        u: Coordinates of the hyperparameters; the start when None.
        engine: How it is found.
        key: For the losses and for samples.
        state: State of the engine. When None a new one at the parameters of the problem: `Implicit` then
            takes them as the best response, `Unroll` as where its steps begin, and a hypernetwork knows
            nothing yet, its hypergradient is 0.
        batches: Training batches, `engine.train_steps` along the leading axis, for losses with batches.
        valid_batch: A validation batch, for losses with batches.
        scale: Standard deviation of samples around u, for engines that draw some.

    Returns:
        The derivative and what goes with it. It is not checked whether it can be trusted: see `metrics`.

    Raises:
        ArgumentError: for coordinates of another length or dtype.
    """
    check_key(key)
    if not isinstance(problem, Problem):
        raise ArgumentError(f"problem must be a Problem, got {problem!r}")
    u = problem.space.initial if u is None else problem.space.check_coordinates(u)
    place = Place(u, jnp.full_like(u, np.log(scale)), jnp.zeros((), u.dtype))
    if state is None:
        state = engine.init(problem, place, key=key)

    @jax.jit
    def find(state: PyTree, place: Place, batches: PyTree, valid_batch: PyTree) -> Any:
        return engine.hypergradient(problem, state, place, batches, valid_batch, key=key)

    state, found = find(state, place, batches, valid_batch)
    named = problem.space.arrange(found.by_u)
    return Hypergradient(found.valid_loss, found.by_u, named, found.metrics, state)
