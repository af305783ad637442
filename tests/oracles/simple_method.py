"""A method that needs only a likelihood: Adam on the posterior density, and jitter around its maximum."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from backthrough.natgrad import Fitted, Training


class Around(eqx.Module):
    mean: object
    jitter: float = eqx.field(static=True)

    def sample(self, *, key):
        arrays, static = eqx.partition(self.mean, eqx.is_inexact_array)
        leaves, structure = jax.tree_util.tree_flatten(arrays)
        keys = jax.random.split(key, len(leaves))
        moved = [a + self.jitter * jax.random.normal(k, a.shape) for a, k in zip(leaves, keys, strict=True)]
        return eqx.combine(jax.tree_util.tree_unflatten(structure, moved), static)


class Simple(eqx.Module):
    learning_rate: float = eqx.field(static=True, default=0.02)
    jitter: float = eqx.field(static=True, default=0.02)

    def training(self, problem, n_steps):
        optimiser = optax.adam(self.learning_rate)
        likelihood = problem.likelihood

        def init(model, *, key):
            weights = eqx.filter(model, eqx.is_inexact_array)
            return model, optimiser.init(weights), likelihood.init()

        def loss(model, batch, parameters):
            x, y = batch
            outputs = jax.vmap(lambda own: problem.apply(model, own))(x)
            fit = jax.vmap(lambda o, t: likelihood.log_prob(o, t, parameters))(outputs, y).mean()
            squares = sum(
                jnp.sum(a**2) for a in jax.tree_util.tree_leaves(eqx.filter(model, eqx.is_inexact_array))
            )
            return -fit + squares / (2 * problem.prior_var * problem.n_data), outputs

        def step(state, batch, *, key):
            model, memory, noise = state
            parameters = likelihood.draw(noise, key=key)
            (value, outputs), slope = eqx.filter_value_and_grad(loss, has_aux=True)(model, batch, parameters)
            updates, memory = optimiser.update(slope, memory)
            noise = likelihood.learn(
                noise, outputs[None], batch[1], n_data=problem.n_data, kl_weight=problem.kl_weight
            )
            return (eqx.apply_updates(model, updates), memory, noise), {"loss": value}

        def finish(state):
            return Fitted(Around(state[0], self.jitter), state[2], likelihood, problem.apply)

        return Training(init, step, finish)
