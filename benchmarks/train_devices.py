"""How far the numbers of four devices, and of two processes, are from those of one; and how fast two are.

    python benchmarks/train_devices.py

The same training with the same four shards is made by one device, by four virtual CPU devices, and by two
processes on the loopback, in 64 bits: there nothing but another order of additions can differ. In 32 bits the
same rounding grows as it does in any training of a ReLU network; that figure stands beside it. For the speed
each process, also the single one, is held on one core. The last line is a JSON object for the results table.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from backthrough.train import Batches, fit, join, mean_over_shards

WIDTH, STEPS, ROUNDS = 512, 60, 3
BATCH, LARGE_BATCH = 512, 4096  # where the exchange of gradients weighs much, and little
OPTIMISER = optax.sgd(1e-2, momentum=0.9)


def step(state, batch, *, key):
    """A network of about 800,000 weights."""
    network, memory = state

    def loss(network):
        noisy = batch["x"] + 0.1 * jax.random.normal(key, batch["x"].shape)
        return jnp.mean((jax.vmap(network)(noisy)[:, 0] - batch["y"]) ** 2)

    value, gradient = eqx.filter_value_and_grad(loss)(network)
    updates, memory = OPTIMISER.update(mean_over_shards(gradient), memory)
    return (eqx.apply_updates(network, updates), memory), {"loss": mean_over_shards(value)}


def train(devices: int, batch: int) -> tuple[np.ndarray, float]:
    """All weights after the last step, and seconds a step once compiled."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(4 * batch, WIDTH)).astype(np.float32)
    batches = Batches({"x": x, "y": np.tanh(x[:, 0])}, batch, seed=0)
    network = eqx.nn.MLP(WIDTH, 1, WIDTH, 3, key=jax.random.key(0))
    state = (network, OPTIMISER.init(eqx.filter(network, eqx.is_array)))
    times = []

    def note(state, *, key):
        times.append(time.perf_counter())
        return {"time": 0.0}

    fitted = fit(
        step,
        state,
        batches,
        n_steps=STEPS,
        key=jax.random.key(1),
        evaluate=note,
        evaluate_every=STEPS // 6,
        shards=4,
        devices=devices,
    )
    leaves = jax.tree_util.tree_leaves(eqx.filter(fitted.state[0], eqx.is_array))
    weights = np.concatenate([np.asarray(leaf).ravel() for leaf in leaves])
    return weights, statistics.median(np.diff(times)) / (STEPS // 6)


def child(options: argparse.Namespace) -> None:
    """Trains in this process, as one of several if told so; saves the weights and prints the speed."""
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    jax.config.update("jax_num_cpu_devices", max(1, options.devices // options.processes))
    with join(options.coordinator, process=options.process, processes=options.processes):
        weights, seconds = train(options.devices, options.batch)
    if options.process == 0:
        np.save(options.out, weights)
    print(json.dumps({"seconds": seconds}))


def run(
    out: str,
    *,
    devices: int,
    batch: int = BATCH,
    processes: int = 1,
    cores: list[int] | None = None,
    x64: bool = False,
) -> tuple[Any, float]:
    """Weights and seconds a step of a training in processes of its own."""
    environment = {**os.environ, "JAX_ENABLE_X64": str(int(x64))}
    with socket.create_server(("localhost", 0)) as one:
        port = one.getsockname()[1]
    commands = [
        [sys.executable, __file__, "--out", out, "--devices", str(devices), "--processes", str(processes)]
        + ["--process", str(i), "--coordinator", f"localhost:{port}"]
        + ["--batch", str(batch)]
        + (["--core", str(cores[i])] if cores else [])
        for i in range(processes)
    ]
    children = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for command in commands
    ]
    texts = [process.communicate(timeout=600)[0] for process in children]
    if any(process.returncode for process in children):
        raise RuntimeError(f"a training with {processes} processes and {devices} devices has failed")
    return np.load(out), max(json.loads(text.splitlines()[-1])["seconds"] for text in texts)


def main(folder: str) -> None:
    """Compares numbers once and speeds in interleaved rounds."""
    out = os.path.join(folder, "weights.npy")
    four, two = {}, {}
    for x64 in (False, True):
        one, _ = run(out, devices=1, x64=x64)
        scale = np.abs(one).max()
        four[x64] = float(np.abs(run(out, devices=4, x64=x64)[0] - one).max() / scale)
        two[x64] = float(np.abs(run(out, devices=2, processes=2, x64=x64)[0] - one).max() / scale)
    cores = sorted(os.sched_getaffinity(0))[:2]
    ratios: dict[int, list[float]] = {BATCH: [], LARGE_BATCH: []}
    single: dict[int, list[float]] = {BATCH: [], LARGE_BATCH: []}
    for _ in range(ROUNDS):
        for batch, found in ratios.items():
            _, alone = run(out, devices=1, batch=batch, cores=cores)
            _, together = run(out, devices=2, batch=batch, processes=2, cores=cores)
            found.append(alone / together)
            single[batch].append(alone)
            print(f"batch {batch}: one process {1e3 * alone:.1f} ms a step, two {1e3 * together:.1f} ms")
    setup = f"{STEPS} steps of a network of {one.size:,} weights, batch {BATCH} in 4 shards"
    print(
        json.dumps(
            {
                "train.devices": {
                    "ours": four[True],
                    "note": f"After {setup}, in 64 bits; in 32 bits {four[False]:.1e}.",
                },
                "train.processes": {
                    "ours": two[True],
                    "note": f"After {setup}, in 64 bits; in 32 bits {two[False]:.1e}.",
                },
                "train.processes-speed": {
                    "ours": statistics.median(ratios[LARGE_BATCH]),
                    "spread": statistics.stdev(ratios[LARGE_BATCH]),
                    "peer": {
                        "name": "one process, ms a step",
                        "value": 1e3 * statistics.median(single[LARGE_BATCH]),
                    },
                    "note": f"Median of {ROUNDS} interleaved pairs, batch {LARGE_BATCH}; with batch "
                    f"{BATCH} it is {statistics.median(ratios[BATCH]):.2f}.",
                },
            }
        )
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    parser.add_argument("--devices", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--processes", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--process", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--coordinator", help=argparse.SUPPRESS)
    parser.add_argument("--core", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.out:
        child(arguments)
    else:
        import tempfile

        with tempfile.TemporaryDirectory() as temporary:
            main(temporary)
