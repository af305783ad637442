"""Time of a training step of the discrete VAE by each estimator over that of leave-one-out with two samples.

    python benchmarks/estimators_dvae_step.py

One-layer linear model, 784 pixels, batch 24, RELAX with 4 x 200 units; rounds are interleaved and compared in
pairs. The last line is JSON for the results table.
"""

import json
import statistics
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from backthrough.recipes.estimators.dvae.config import Config
from backthrough.recipes.estimators.dvae.recipe import advance, start

NAMES = ("leave-one-out", "DisARM", "REBAR", "RELAX", "straight-through")
ROUNDS, WARM_UP = 200, 10


def main() -> None:
    config = Config()
    generator = np.random.default_rng(0)
    mean = generator.random(784, np.float32) / 2
    batch = jnp.asarray((generator.random((config.batch_size, 784)) < mean).astype(np.float32))
    optimiser = optax.adam(1e-3, b2=0.99999)
    copies, steps, taken = {}, {}, {name: [] for name in NAMES}
    for name in NAMES:
        copies[name] = start(config, name, mean, optimiser, jax.random.key(0))
        steps[name] = eqx.filter_jit(
            lambda copy, key, name=name: advance(config, name, optimiser, copy, batch, key)
        )
    for index in range(ROUNDS + WARM_UP):
        key = jax.random.key(index)
        for name in NAMES:
            started = time.perf_counter()
            copies[name], value = steps[name](copies[name], key)
            jax.block_until_ready((eqx.filter(copies[name], eqx.is_array), value))
            if index >= WARM_UP:
                taken[name].append(time.perf_counter() - started)
    base = taken["leave-one-out"]
    ratios = {name: [a / b for a, b in zip(taken[name], base, strict=True)] for name in NAMES}
    for name in NAMES:
        milliseconds = 1e3 * statistics.median(taken[name])
        print(f"{name:<17} {milliseconds:.2f} ms, ratio {statistics.median(ratios[name]):.2f}")
    note = "; ".join(f"{name} {statistics.median(ratios[name]):.2f}" for name in NAMES[1:])
    row = {
        "ours": statistics.median(ratios["RELAX"]),
        "peer": {"name": "leave-one-out, ms a step", "value": 1e3 * statistics.median(base)},
        "note": f"Medians of {ROUNDS} interleaved rounds; over leave-one-out: {note}.",
    }
    print(json.dumps({"estimators.4-step": row}))


if __name__ == "__main__":
    main()
