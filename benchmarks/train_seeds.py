"""Time of eight seeds in one program over the time of one.

    python benchmarks/train_seeds.py

Once for a small network, whose time is mostly not arithmetic, and once for one that keeps the cores busy.
Rounds are interleaved. The last line is a JSON object for the results table.
"""

import json
import statistics
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from backthrough.train import Batches, fit, over_seeds

COPIES, ROUNDS = 8, 7
OPTIMISER = optax.adam(1e-3)


def step(state, batch, *, key):
    """Regression by a network with two hidden layers."""
    network, memory = state

    def loss(network):
        return jnp.mean((jax.vmap(network)(batch["x"])[:, 0] - batch["y"]) ** 2)

    value, gradient = eqx.filter_value_and_grad(loss)(network)
    updates, memory = OPTIMISER.update(gradient, memory)
    return (eqx.apply_updates(network, updates), memory), {"loss": value}


def seconds(width: int, batch: int, n_steps: int, copies: int) -> float:
    """Seconds a step, once compiled."""

    def initial(key):
        network = eqx.nn.MLP(width, 1, width, 2, key=key)
        return network, OPTIMISER.init(eqx.filter(network, eqx.is_array))

    generator = np.random.default_rng(0)
    x = generator.normal(size=(1000, width)).astype(np.float32)
    data = {"x": x, "y": x[:, 0]}
    times = []

    def note(state, *, key):
        times.append(time.perf_counter())
        return {"time": np.zeros(copies).tolist() if copies > 1 else 0.0}

    if copies == 1:
        trained, state, seeds = step, initial(jax.random.key(0)), 0
    else:
        trained = over_seeds(step, copies, own_batches=True)
        state = eqx.filter_vmap(initial)(jax.random.split(jax.random.key(0), copies))
        seeds = list(range(copies))
    batches = Batches(data, batch, seed=seeds)
    key = jax.random.key(1)
    fit(trained, state, batches, n_steps=n_steps, key=key, evaluate=note, evaluate_every=n_steps // 6)
    return statistics.median(np.diff(times)) / (n_steps // 6)


def ratio(width: int, batch: int, n_steps: int) -> tuple[float, float, float]:
    """Median and standard deviation of time for eight over time for one, and the time for one."""
    ones, ratios = [], []
    for _ in range(ROUNDS):
        ones.append(seconds(width, batch, n_steps, 1))
        ratios.append(seconds(width, batch, n_steps, COPIES) / ones[-1])
    return statistics.median(ratios), statistics.stdev(ratios), statistics.median(ones)


def main() -> None:
    """Prints both ratios."""
    small, spread, one = ratio(32, 32, 3000)
    large, _, busy = ratio(256, 256, 240)
    print(f"small {small:.2f} ({1e6 * one:.0f} us a step of one), large {large:.2f} ({1e3 * busy:.1f} ms)")
    note = (
        f"Median of {ROUNDS} interleaved pairs; width 32, batch 32, {1e6 * one:.0f} microseconds a step of "
        f"one. With width 256 and batch 256 ({1e3 * busy:.1f} ms) it is {large:.2f}."
    )
    peer = {"name": "eight one after another", "value": float(COPIES)}
    print(json.dumps({"train.seeds": {"ours": small, "spread": spread, "peer": peer, "note": note}}))


if __name__ == "__main__":
    main()
