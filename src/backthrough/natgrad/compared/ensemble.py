"""Networks trained apart from different starts (Lakshminarayanan et al. 2017)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from backthrough.core import ArgumentError, PRNGKey, PyTree, Scalar, check_integer, check_positive
from backthrough.natgrad.compared.map import MAP
from backthrough.natgrad.fit import Problem, Training
from backthrough.natgrad.fitted import Draws, Fitted


class Members(NamedTuple):
    """What training carries.

    Attributes:
        states: Of all members, with a leading axis.
        noise_keys: Determine which noise each member ends with.
    """

    states: PyTree
    noise_keys: Key[Array, "member"]


class DeepEnsemble(eqx.Module):
    """Each member is a `MAP` estimate of its own from its own start; all see the same minibatches.

    Lakshminarayanan et al. 2017, without their adversarial examples and with the likelihood's noise in place
    of one that depends on x. Where it is learned, it is each member's own, drawn from its posterior.

    Attributes:
        make: `make(key)` gives a network like the one that is fitted, with initial weights of its own.
        n_members: Networks.
        learning_rate: The largest; it falls along half a cosine to a hundredth.

    Raises:
        ArgumentError: for a number out of range.
    """

    make: Callable[[PRNGKey], Any] = eqx.field(static=True)
    n_members: int = eqx.field(static=True, default=5)
    learning_rate: float = eqx.field(static=True, default=1e-2)

    def __check_init__(self) -> None:
        check_integer("n_members", self.n_members, minimum=1)
        check_positive("learning_rate", self.learning_rate)

    def training(self, problem: Problem, n_steps: int) -> Training:
        """How it trains; `finish` gives `Draws`, one a member. The model's own weights are of no meaning."""
        _check_alike(self.make, problem.model)
        one = MAP(self.learning_rate).training(problem, n_steps)

        def init(model: Any, *, key: PRNGKey) -> Members:
            make_key, noise_key = jax.random.split(key)
            states = jax.vmap(
                lambda key: one.init(eqx.filter(self.make(key), eqx.is_inexact_array), key=key)
            )(jax.random.split(make_key, self.n_members))
            return Members(states, jax.random.split(noise_key, self.n_members))

        def step(
            state: Members, batch: tuple[Array, Array], *, key: PRNGKey
        ) -> tuple[Members, dict[str, Scalar]]:
            keys = jax.random.split(key, self.n_members)
            states, metrics = jax.vmap(lambda own, key: one.step(own, batch, key=key))(state.states, keys)
            return state._replace(states=states), jax.tree_util.tree_map(jnp.mean, metrics)

        def finish(state: Members) -> Draws:
            def member(own: PyTree, key: PRNGKey) -> tuple[Any, PyTree]:
                found = one.finish(own)
                assert isinstance(found, Fitted)
                return found.weights.mean, problem.likelihood.draw(found.noise, key=key)

            models, parameters = eqx.filter_vmap(member)(state.states, state.noise_keys)
            return Draws(models, parameters, problem.likelihood, problem.apply)

        return Training(init, step, finish)


def _check_alike(make: Callable[[PRNGKey], Any], model: Any) -> None:
    """Raises `ArgumentError` unless `make` makes networks with the same weights as `model`."""
    made = eqx.filter_eval_shape(make, jax.random.key(0))
    shapes = [jax.tree_util.tree_map(lambda leaf: getattr(leaf, "shape", None), own) for own in (made, model)]
    if shapes[0] != shapes[1]:
        raise ArgumentError("make(key) must give a network like the one that is fitted; its weights differ")
