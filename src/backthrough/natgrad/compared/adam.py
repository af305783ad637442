"""What the methods here that follow a gradient share: Adam on a bound of a minibatch."""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from backthrough.core import PRNGKey, PyTree, Scalar
from backthrough.natgrad.fit import Problem, Training
from backthrough.natgrad.fitted import Draws, Fitted, WeightPosterior
from backthrough.train import mean_over_shards, schedule


class State(NamedTuple):
    """What training carries; arrays only.

    Attributes:
        trained: What Adam changes.
        optimiser: Adam's memory.
        noise: The posterior of the likelihood's own parameters.
    """

    trained: PyTree
    optimiser: optax.OptState
    noise: PyTree


def train_with_adam(
    problem: Problem,
    n_steps: int,
    learning_rate: float,
    *,
    start: Callable[[PyTree], PyTree],
    outputs: Callable[..., Array],
    divergence: Callable[[PyTree], Scalar],
    posterior: Callable[[PyTree], WeightPosterior],
) -> Training:
    """Maximises the mean over examples of E[log p(y | x, weights)] - kl_weight / n_data * divergence.

    A likelihood's own parameters are drawn from their posterior at every step, and that posterior is then
    learned from the same outputs. The learning rate falls along half a cosine to a hundredth.

    Args:
        problem: What is to be fitted.
        n_steps: Steps in all.
        learning_rate: The largest.
        start: Makes what is trained from the weights of a network; the rest of the network is None there.
        outputs: `outputs(trained, x, key=key)` gives the network's outputs for the examples of a batch under
            draws of the weights, shape (sample, example, out).
        divergence: Of the weights' distribution from their prior, nats, up to a constant.
        posterior: The distribution of the weights.
    """
    optimiser = optax.adam(schedule("cosine", learning_rate, n_steps=n_steps))
    likelihood, kl_weight, n_data = problem.likelihood, problem.kl_weight, problem.n_data

    def init(model: PyTree, *, key: PRNGKey) -> State:
        trained = start(eqx.filter(model, eqx.is_inexact_array))
        return State(trained, optimiser.init(trained), likelihood.init())

    def step(state: State, batch: tuple[Array, Array], *, key: PRNGKey) -> tuple[State, dict[str, Scalar]]:
        x, y = batch
        weight_key, noise_key = jax.random.split(key)
        parameters = likelihood.draw(state.noise, key=noise_key)

        def loss(trained: PyTree) -> tuple[Scalar, Array]:
            found = outputs(trained, x, key=weight_key)
            each = jax.vmap(jax.vmap(lambda out, y: likelihood.log_prob(out, y, parameters)), (0, None))
            return kl_weight / n_data * divergence(trained) - jnp.mean(each(found, y)), found

        (value, found), gradients = jax.value_and_grad(loss, has_aux=True)(state.trained)
        updates, memory = optimiser.update(mean_over_shards(gradients), state.optimiser)
        noise = likelihood.learn(state.noise, found, y, n_data=n_data, kl_weight=kl_weight)
        trained = optax.apply_updates(state.trained, updates)
        return State(trained, memory, mean_over_shards(noise)), {"loss": value}

    def finish(state: State) -> Fitted | Draws:
        return Fitted(posterior(state.trained), state.noise, likelihood, problem.apply)

    return Training(init, step, finish)


def squared_norm(weights: PyTree) -> Scalar:
    """The sum of all squared entries."""
    return jnp.asarray(sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree_util.tree_leaves(weights)))


def with_weights(problem: Problem, weights: PyTree) -> PyTree:
    """The problem's network with other weights."""
    return eqx.combine(weights, eqx.filter(problem.model, eqx.is_inexact_array, inverse=True))


def outputs_with(problem: Problem, weights: PyTree, x: Float[Array, "example ..."]) -> Array:
    """The outputs of the problem's network with other weights, shape (example, out)."""
    model = with_weights(problem, weights)
    return jax.vmap(lambda x: problem.apply(model, x))(x)
