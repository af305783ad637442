"""An exponential moving average of parameters, kept beside the training that moves them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from backthrough.core import ArgumentError, PRNGKey, PyTree


class Averaged(NamedTuple):
    """A training state and the average of a part of it.

    Attributes:
        state: The state itself.
        average: The part, its floating-point arrays replaced by their averages over the steps so far, in 32
            bits at least.
        weight: 1 - decay^t after t steps: what the average is divided by to be unbiased.
    """

    state: PyTree
    average: PyTree
    weight: Float[Array, "..."]


class StepWithAverage:
    """What `moving_average` returns."""

    def __init__(self, step: Callable[..., Any], part: Callable[[PyTree], PyTree], decay: float):
        self._step = step
        self._part = part
        self._decay = decay

    def start(self, state: PyTree) -> Averaged:
        """The state to hand to `fit`."""
        return Averaged(state, jax.tree_util.tree_map(_widen, self._part(state)), jnp.zeros(()))

    def __call__(self, state: Averaged, batch: PyTree, /, *, key: PRNGKey) -> tuple[Averaged, Any]:
        """One step, and the average moved towards its outcome."""
        new, metrics = self._step(state.state, batch, key=key)
        weight = self._decay * state.weight + (1 - self._decay)
        share = (1 - self._decay) / weight  # of the new values in the average that is divided by its weight

        def move(average: Any, value: Any) -> Any:
            if not eqx.is_inexact_array(average):
                return value
            return average + (share * (value - average)).astype(average.dtype)

        average = jax.tree_util.tree_map(move, state.average, self._part(new))
        return Averaged(new, average, weight), metrics


def _widen(leaf: Any) -> Any:
    if not eqx.is_inexact_array(leaf):
        return leaf
    return leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))


def moving_average(
    step: Callable[..., Any], part: Callable[[PyTree], PyTree], *, decay: float
) -> StepWithAverage:
    """A step that also keeps the average a_t of a part p_t of the state; hand it to `fit` in place of `step`.

    a_t = sum_i decay^(t-i) p_i / sum_i decay^(t-i), as the moments of Adam (Kingma and Ba 2015, section 3):
    the starting point has no weight.

        averaged = moving_average(step, lambda state: state.model, decay=0.999)
        fitted = fit(averaged, averaged.start(state), batches, ...)
        fitted.state.average      # the averaged model; fitted.state.state is what it was made of

    Args:
        step: `step(state, batch, *, key)`.
        part: What to average: a function of the state, such as its model.
        decay: Weight of the past, in [0, 1).

    Raises:
        ArgumentError: if `decay` is outside [0, 1).
    """
    if not 0 <= decay < 1:
        raise ArgumentError(f"decay must lie in [0, 1), got {decay!r}")
    return StepWithAverage(step, part, decay)
