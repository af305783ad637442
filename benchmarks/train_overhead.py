"""Steps per second of `fit`, with a run directory, metrics and checkpoints, over those of a bare jitted loop.

    python benchmarks/train_overhead.py

Both run the same step (about 2 ms) on the same batches; rounds are interleaved and compared in pairs. The
last line is a JSON object for the results table.
"""

import json
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from backthrough.train import Batches, Run, fit

WIDTH, BATCH, WARM_UP, STEPS, ROUNDS = 256, 128, 300, 1500, 9

OPTIMISER = optax.adam(1e-3)


def step(state, batch, *, key):
    """A small network with noise on its input; about 2 ms on two cores."""
    network, memory = state

    def loss(network):
        noisy = batch["x"] + 0.1 * jax.random.normal(key, batch["x"].shape)
        return jnp.mean((jax.vmap(network)(noisy)[:, 0] - batch["y"]) ** 2)

    value, gradient = eqx.filter_value_and_grad(loss)(network)
    updates, memory = OPTIMISER.update(gradient, memory)
    return (eqx.apply_updates(network, updates), memory), {"loss": value}


def initial():
    network = eqx.nn.MLP(WIDTH, 1, 2 * WIDTH, 3, key=jax.random.key(0))
    return network, OPTIMISER.init(eqx.filter(network, eqx.is_array))


def bare_loop(batches: Batches, key) -> float:
    """Seconds for a step in a loop that does nothing else: donated state, metrics never read."""
    arrays, static = eqx.partition(initial(), eqx.is_array)
    arrays = jax.tree_util.tree_map(jnp.copy, arrays)

    @partial(jax.jit, donate_argnums=0)
    def advance(arrays, data, rows, t):
        state = eqx.combine(arrays, static)
        batch = batches.fetch(data, rows)
        new, metrics = step(state, batch, key=jax.random.fold_in(key, t))
        return eqx.filter(new, eqx.is_array), metrics

    for t in range(WARM_UP):
        arrays, _ = advance(arrays, batches.data, batches.inputs(t), t)
    jax.block_until_ready(arrays)
    started = time.perf_counter()
    for t in range(WARM_UP, WARM_UP + STEPS):
        arrays, _ = advance(arrays, batches.data, batches.inputs(t), t)
    jax.block_until_ready(arrays)
    return (time.perf_counter() - started) / STEPS


def fit_loop(batches: Batches, key, folder: Path) -> float:
    """Seconds for a step of `fit` with everything on: metrics, a checkpoint every 250 steps."""
    marks = []

    def mark(state, *, key):
        marks.append(time.perf_counter())
        return {}

    fit(
        step,
        initial(),
        batches,
        n_steps=WARM_UP + STEPS,
        key=key,
        run=Run(folder),
        evaluate=mark,
        evaluate_every=WARM_UP,
        checkpoint_every=250,
        log_every=10,
    )
    return (marks[-1] - marks[0]) / STEPS


def main() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(4096, WIDTH)).astype(np.float32)
    batches = Batches({"x": x, "y": x[:, 0]}, BATCH, seed=0)
    key = jax.random.key(1)
    ratios, bare = [], []
    for index in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            loops = [lambda: bare_loop(batches, key), lambda: fit_loop(batches, key, Path(folder))]
            if index % 2:
                fitted, alone = loops[1](), loops[0]()
            else:
                alone, fitted = loops[0](), loops[1]()
        ratios.append(alone / fitted)
        bare.append(alone)
        print(f"bare {1e3 * alone:.3f} ms, fit {1e3 * fitted:.3f} ms, ratio {ratios[-1]:.3f}", flush=True)
    row = {
        "ours": statistics.median(ratios),
        "spread": statistics.stdev(ratios),
        "peer": {"name": "bare loop, ms a step", "value": 1e3 * statistics.median(bare)},
        "note": f"Median of {ROUNDS} interleaved pairs of {STEPS:,} steps.",
    }
    print(json.dumps({"train.overhead": row}))


if __name__ == "__main__":
    main()
