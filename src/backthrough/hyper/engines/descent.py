"""One step down a loss, by a learning rate that falls or by the user's own optimiser."""

from collections.abc import Callable
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from backthrough.core import PyTree, Scalar, check_positive

Rate: TypeAlias = float | optax.GradientTransformation
"""An Optax optimiser, or the learning rate of an Adam that falls to a hundredth along half a cosine."""
RateOfHyper: TypeAlias = Rate | Callable[[dict[str, Any]], optax.GradientTransformation]
"""A `Rate`, or a function of the named values that returns an Optax optimiser."""
FINAL = 0.01


def is_of_hyper(rate: Any) -> bool:
    """Whether the optimiser depends on the hyperparameters."""
    return callable(rate) and not isinstance(rate, optax.GradientTransformation)


def check_rate(name: str, rate: Any) -> None:
    """Raises `ArgumentError` unless it is a positive number or an Optax optimiser."""
    if not isinstance(rate, optax.GradientTransformation):
        check_positive(name, rate)


def optimiser_of(rate: Rate) -> optax.GradientTransformation:
    """The optimiser that a rate stands for, before its rate falls."""
    return rate if isinstance(rate, optax.GradientTransformation) else optax.adam(rate)


def falling(rate: Rate, progress: Scalar) -> Any:
    """What its updates are multiplied with: 1 for an optimiser of the user's."""
    if isinstance(rate, optax.GradientTransformation):
        return 1.0
    return FINAL + (1 - FINAL) * 0.5 * (1 + jnp.cos(jnp.pi * progress))


def move(rate: Rate, gradient: PyTree, variables: PyTree, state: Any, progress: Scalar) -> tuple[PyTree, Any]:
    """The variables and the optimiser's state after one update by this gradient."""
    updates, state = optimiser_of(rate).update(gradient, state, variables)
    scale = falling(rate, progress)
    return eqx.apply_updates(variables, jax.tree_util.tree_map(lambda own: scale * own, updates)), state


def descend(
    rate: Rate, loss: Callable[[PyTree], Scalar], variables: PyTree, state: Any, progress: Scalar
) -> tuple[PyTree, Any, Scalar]:
    """The variables and the optimiser's state after one step, and the loss before it."""
    value, gradient = jax.value_and_grad(loss)(variables)
    variables, state = move(rate, gradient, variables, state, progress)
    return variables, state, value
