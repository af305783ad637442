"""A small problem that every test of the loop shares: linear regression by stochastic gradient descent."""

import jax
import jax.numpy as jnp
import numpy as np

from backthrough.train import Batches, Run, fit, mean_over_shards

N_DATA, N_FEATURES, BATCH = 50, 4, 8


def data():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(N_DATA, N_FEATURES)).astype(np.float32)
    return {"x": x, "y": x @ np.arange(1.0, 5.0, dtype=np.float32)}


def initial():
    return {
        "weight": jnp.zeros(N_FEATURES),
        "key": jax.random.key(7),
        "half": jnp.ones(3, jnp.bfloat16),
        "count": jnp.array(0),
        "name": "not an array",
    }


def step(state, batch, *, key):
    def loss(weight):
        noise = 0.01 * jax.random.normal(key, (BATCH,))
        return jnp.mean((batch["x"] @ weight - batch["y"] + noise) ** 2)

    value, gradient = jax.value_and_grad(loss)(state["weight"])
    new = {
        **state,
        "weight": state["weight"] - 0.02 * gradient,
        "key": jax.random.fold_in(state["key"], 1),
        "half": state["half"] * jnp.bfloat16(0.99),
        "count": state["count"] + 1,
    }
    return new, {"loss": value, "weight norm": jnp.linalg.norm(new["weight"])}


def evaluate(state, *, key):
    return {"valid": float(state["weight"].sum() + jax.random.normal(key))}


def train(n_steps=60, *, run=None, step=step, state=None, seed=3, **options):
    batches = Batches(data(), BATCH, seed=1)
    key = jax.random.key(seed)
    state = initial() if state is None else state
    return fit(step, state, batches, n_steps=n_steps, key=key, run=run, **options)


def open_run(path, *, resume=False, **config):
    return Run(path, config={"rate": 0.02, **config}, resume=resume)


def plain(state):
    """The state as NumPy arrays that can be compared bit for bit."""

    def bits(leaf):
        if not isinstance(leaf, jax.Array):
            return leaf
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        return np.asarray(leaf).tobytes()

    return jax.tree_util.tree_map(bits, state)


def sharded_step(state, batch, *, key):
    """`step` for any number of shards; its noise differs between them."""

    def loss(weight):
        noise = 0.1 * jax.random.normal(key, batch["y"].shape)
        return jnp.mean((batch["x"] @ weight - batch["y"] + noise) ** 2)

    value, gradient = jax.value_and_grad(loss)(state["weight"])
    gradient = mean_over_shards(gradient)
    return {**state, "weight": state["weight"] - 0.02 * gradient, "count": state["count"] + 1}, {
        "loss": value
    }
