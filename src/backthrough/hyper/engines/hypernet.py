"""What the three hypernetwork algorithms share: phi, and the two lines of their boxes."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, Float

from backthrough.core import ArgumentError, PRNGKey, PyTree, Scalar
from backthrough.hyper.engines.descent import Rate, descend, optimiser_of
from backthrough.hyper.engines.engine import Found, Place
from backthrough.hyper.problem import Problem
from backthrough.hyper.responses import Response, ResponseFunction


class Hypernet(NamedTuple):
    """State of an engine that trains a response.

    Attributes:
        response: w_phi.
        optimiser: State of phi's optimiser.
    """

    response: ResponseFunction
    optimiser: Any


def check_response(response: Any) -> None:
    """Raises `ArgumentError` unless it is a `Response`, made."""
    if isinstance(response, type) or not isinstance(response, Response):
        raise ArgumentError(f"response must be a response such as CentredLinear(), got {response!r}")


def start(response: Response, rate: Rate, problem: Problem, *, key: PRNGKey) -> Hypernet:
    """phi before the first step: a response that is constant."""
    made = response.init(problem.space, problem.initial_weights, key=key)
    return Hypernet(made, optimiser_of(rate).init(eqx.filter(made, eqx.is_inexact_array)))


def train_response(
    rate: Rate,
    problem: Problem,
    state: Hypernet,
    us: Float[Array, "sample hyper"],
    place: Place,
    batch: PyTree,
    *,
    keys: Any,
) -> tuple[Hypernet, Scalar]:
    """phi -= a grad_phi L_T(w_phi(u), u; x), the loss a mean over the rows of `us`, each with its key."""
    phi, fixed = eqx.partition(state.response, eqx.is_inexact_array)

    def loss(phi: PyTree) -> Scalar:
        response = eqx.combine(phi, fixed)
        each = jax.vmap(lambda u, key: problem.train_loss(response(u, place.u), u, batch, key=key))(us, keys)
        return jnp.mean(each)

    phi, optimiser, value = descend(rate, loss, phi, state.optimiser, place.progress)
    return Hypernet(eqx.combine(phi, fixed), optimiser), value


def through_response(
    problem: Problem, state: Hypernet, place: Place, valid_batch: PyTree, *, key: PRNGKey
) -> Found:
    """grad_u L_V(w_phi(u); x') where the hyperparameters stand."""

    def loss(u: Any) -> Scalar:
        return problem.valid_loss(state.response(u, stop_gradient(place.u)), valid_batch, key=key)

    value, gradient = jax.value_and_grad(loss)(place.u)
    return Found(value, gradient, jnp.zeros_like(place.log_scale), {})
