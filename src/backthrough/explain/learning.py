"""Probabilities with which units are selected, learned by gradients through what is drawn from them."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpyro.distributions as dist
import optax
from jaxtyping import Array, Float

from backthrough.core import ArgumentError, PRNGKey, Scalar, check_choice
from backthrough.estimators import RELAX, Concrete, DisARM, Estimator, LeaveOneOut, expect
from backthrough.explain.objective import Objective, Question

TEMPERATURE = 0.1  # of the published recipe
LARGEST_LOGIT = 8.0  # beyond it draws hardly ever differ, and gradients are zero
NAMES = ("auto", "concrete", "loo", "disarm", "relax")


class Control(eqx.Module):
    """RELAX's control variate: a small network of a relaxed set.

    Attributes:
        network: From the set to a number.
    """

    network: eqx.nn.MLP

    def __init__(self, n_units: int, *, key: PRNGKey):
        self.network = eqx.nn.MLP(n_units, "scalar", 32, 1, activation=jnp.tanh, key=key)

    def __call__(self, z: Float[Array, "unit"]) -> Scalar:
        """The number."""
        return self.network(jax.nn.sigmoid(z))


def choose_estimator(
    estimator: Any, *, differentiable: bool, conditional: bool, n_units: int, key: PRNGKey
) -> Estimator:
    """The estimator that was asked for.

    Args:
        estimator: One of `backthrough.estimators`, or a name: `"concrete"` (relaxed, biased), `"loo"`,
            `"disarm"`, `"relax"`; `"auto"` is concrete where that is right but for its temperature, and
            leave-one-out elsewhere.
        differentiable: Whether the model is.
        conditional: Whether what is filled in depends on the mask.
        n_units: How many variables there are.
        key: For the control variate's weights.

    Raises:
        ArgumentError: for one that cannot work, naming those that can.
    """
    if isinstance(estimator, Estimator):
        name, needs = type(estimator).__name__, estimator.properties.needs_gradient
    else:
        name = check_choice("estimator", estimator, NAMES)
        needs = name == "concrete"
    if needs and not differentiable:
        raise ArgumentError(
            f"estimator {name!r} needs the gradient of the model, and a black box has none: use 'loo', "
            "'disarm' or 'relax', which need only its values"
        )
    if isinstance(estimator, Estimator):
        return estimator
    if name == "auto":
        name = "concrete" if differentiable and not conditional else "loo"
    if name == "concrete":
        return Concrete(TEMPERATURE)
    if name == "relax":
        return RELAX(Control(n_units, key=key))
    return DisARM() if name == "disarm" else LeaveOneOut()


def learn(
    objective: Objective,
    question: Question,
    logits: Float[Array, "..."],
    estimator: Estimator,
    *,
    spread: Any,
    n_steps: int,
    n_samples: int,
    n_draws: int,
    learning_rate: float,
    warm_up: int,
    key: PRNGKey,
) -> tuple[Float[Array, "unit"], Float[Array, "step"]]:
    """Minimises the expected loss of a set whose units are selected independently.

    Adam, with a rate that falls to 0 along a line; the price of the area rises along another one in the first
    `warm_up` steps. The estimator's control variate is trained beside it, by the estimate's variance.

    Args:
        objective: The loss of a set.
        question: The input and what is asked of it.
        logits: Where to begin.
        estimator: How the gradient is estimated.
        spread: Maps what is learned to the logits of units.
        n_steps: Of Adam.
        n_samples: Sets in a step.
        n_draws: Infills of each.
        learning_rate: At the beginning.
        warm_up: Steps until the area has its full price.
        key: Determines all draws.

    Returns:
        The probability of each unit, and the estimated loss at each step.
    """
    optimiser = optax.adam(optax.linear_schedule(learning_rate, 0.0, n_steps))
    trained, fixed = eqx.partition(estimator, eqx.is_inexact_array)

    def loss(learned: tuple[Array, Any], part: Array, key: PRNGKey) -> Scalar:
        set_key, infill_key = jax.random.split(key)
        units = spread(learned[0])

        def f(selected: Float[Array, "unit"]) -> Scalar:
            return objective.effect(question, selected, key=infill_key, n_draws=n_draws)

        own = eqx.combine(learned[1], fixed)
        mean = expect(f, dist.Bernoulli(logits=units), key=set_key, estimator=own, n_samples=n_samples)
        return mean + part * objective.price(jax.nn.sigmoid(units))

    def step(state: Any, item: tuple[Array, PRNGKey]) -> tuple[Any, Scalar]:
        learned, memory = state
        number, own_key = item
        part = jnp.minimum(1.0, (number + 1) / max(warm_up, 1))
        value, gradient = jax.value_and_grad(loss)(learned, part, own_key)
        updates, memory = optimiser.update(gradient, memory)
        units, control = eqx.apply_updates(learned, updates)
        return ((jnp.clip(units, -LARGEST_LOGIT, LARGEST_LOGIT), control), memory), value

    learned = (logits, trained)
    state = (learned, optimiser.init(learned))
    ((logits, _), _), history = jax.lax.scan(
        step, state, (jnp.arange(n_steps), jax.random.split(key, n_steps))
    )
    return jax.nn.sigmoid(spread(logits)), history
