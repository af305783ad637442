"""Regularisers by gradhpo, of a problem that `hyper_vs_peers.py` has written; writes `found.npz`.

    python benchmarks/peers/hyper_gradhpo.py FOLDER

Needs gradhpo and optax. Its greedy optimiser unrolls 5 steps of Adam, as `Unroll(5)` does. The rates fall
along half a cosine of the time. Of its other optimisers T1T2 gives all entries of an array the same gradient,
and HyperDistill compiles anew in each step.
"""

# pyright: reportMissingImports=false

import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from gradhpo import GreedyOptimizer

WEIGHT_RATE, HYPER_RATE, UNROLLED = 1e-2, 2e-2, 5
FINAL = 0.01
UPDATES = 100  # of the rates


def train_loss(w, log_decay, batch):
    x, y = batch
    return jnp.mean((x @ w - y) ** 2) + jnp.sum(jnp.exp(log_decay) * w**2)


def valid_loss(w, log_decay, batch):
    x, y = batch
    return jnp.mean((x @ w - y) ** 2)


def main(folder: Path) -> None:
    began = time.perf_counter()
    arrays = dict(np.load(folder / "problem.npz"))
    seconds = float(arrays["seconds"])
    train = jnp.asarray(arrays["x"]), jnp.asarray(arrays["y"])
    valid = jnp.asarray(arrays["x_valid"]), jnp.asarray(arrays["y_valid"])
    adam = optax.inject_hyperparams(optax.adam)
    inner = adam(learning_rate=WEIGHT_RATE, eps_root=1e-16)  # a root of 0 has no derivative
    optimiser = GreedyOptimizer(inner, adam(learning_rate=HYPER_RATE), unroll_steps=UNROLLED)
    first = optimiser.init(jnp.asarray(arrays["weights"]), jnp.asarray(arrays["log_decay"]))

    def step(state):
        return optimiser.step(state, train, valid, train_loss, valid_loss)

    def with_rates(state, part):
        scale = FINAL + (1 - FINAL) * 0.5 * (1 + np.cos(np.pi * part))
        for own, rate in ((state.inner_opt_state, WEIGHT_RATE), (state.outer_opt_state, HYPER_RATE)):
            own.hyperparams["learning_rate"] = jnp.full_like(own.hyperparams["learning_rate"], rate * scale)
        return state

    state = first
    for _ in range(3):  # compiles twice: the state's structure changes after the first
        state = jax.block_until_ready(step(state))
    state = state.update(
        params=first.params,
        hyperparams=first.hyperparams,
        inner_opt_state=inner.init(first.params),
        outer_opt_state=adam(learning_rate=HYPER_RATE).init(first.hyperparams),
    )
    state = with_rates(state, 0.0)
    jax.block_until_ready(step(state))
    begun, count, turn = time.perf_counter(), 0, 1
    while (spent := time.perf_counter() - begun) < seconds:
        if spent > turn * seconds / UPDATES:
            state, turn = with_rates(state, spent / seconds), turn + 1
        state = step(state)
        count += 1
        if count % 20 == 0:
            jax.block_until_ready(state)
    jax.block_until_ready(state)
    np.savez(
        folder / "found.npz",
        log_decay=np.asarray(state.hyperparams),
        weights=np.asarray(state.params),
        seconds=time.perf_counter() - begun,
        count=count,
        compiling=begun - began,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
