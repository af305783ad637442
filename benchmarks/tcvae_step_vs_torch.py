"""Time of a training step of a beta-TCVAE over that of the same model in torch.

    python benchmarks/tcvae_step_vs_torch.py --torch-python PATH

The model of the recipe tcvae-dsprites: 256 pixels, two hidden layers of 128, ten latents, batches of 256.
Rounds of both are interleaved, each in a process of its own; try several numbers of threads for torch. The
last line is JSON for the results table.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from backthrough.latent import BernoulliModel, GaussianEncoder, beta_tcvae
from backthrough.recipes.latent.tcvae_dsprites.config import Config
from backthrough.recipes.latent.tcvae_dsprites.recipe import load
from backthrough.recipes.latent.tcvae_training import GreyModel

ROUNDS, STEPS, WARM_UP = 15, 200, 2
BETA, BATCH = 6.0, 256


def main() -> None:
    """Measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--torch-python", required=True, help="Python with torch")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of torch")
    arguments = parser.parse_args()
    pixels = load(Config()).pictures.pixels
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pixels.npz"
        np.savez(path, pixels=pixels)
        command = [
            arguments.torch_python,
            "benchmarks/peers/tcvae_torch.py",
            str(path),
            str(arguments.threads),
        ]
        peer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        ours = ours_of(pixels)
        taken = {"ours": [], "torch": []}
        for index in range(ROUNDS + WARM_UP):
            seconds = {"ours": ours(STEPS, index), "torch": theirs(peer)}
            if index >= WARM_UP:
                for name, own in seconds.items():
                    taken[name].append(1e3 * own / STEPS)
        if peer.stdin is not None:
            peer.stdin.close()
        peer.wait()
    ratios = [a / b for a, b in zip(taken["ours"], taken["torch"], strict=True)]
    ms = {name: statistics.median(own) for name, own in taken.items()}
    print(f"ms a step: {ms}, ratios from {min(ratios):.2f} to {max(ratios):.2f}")
    row = {
        "ours": round(statistics.median(ratios), 3),
        "peer": {"name": "torch, ms a step", "value": round(ms["torch"], 2)},
        "note": f"ours {ms['ours']:.2f} ms, torch {ms['torch']:.2f} ms; {ROUNDS} rounds of {STEPS} steps; "
        f"torch with {arguments.threads} threads",
    }
    print(json.dumps({"disentanglement.8": row}))


def theirs(peer: subprocess.Popen) -> float:
    """Seconds of as many steps of the other process."""
    assert peer.stdin is not None
    assert peer.stdout is not None
    peer.stdin.write(f"{STEPS}\n")
    peer.stdin.flush()
    return float(peer.stdout.readline())


def ours_of(pixels: np.ndarray):
    """A function that trains some steps, and returns the seconds."""
    keys = jax.random.split(jax.random.key(0))
    decoder = eqx.nn.MLP(10, pixels.shape[1], 128, 2, key=keys[0])
    model = GreyModel(BernoulliModel(decoder, 10), 16.0)
    network = eqx.nn.MLP(pixels.shape[1], 20, 128, 2, key=keys[1])
    modules = (model, GaussianEncoder(network, jnp.asarray(pixels.mean(0))))
    optimiser = optax.adam(1e-3)
    memory = optimiser.init(eqx.filter(modules, eqx.is_inexact_array))
    data = jnp.asarray(pixels)
    arrays, rest = eqx.partition(modules, eqx.is_array)

    @jax.jit
    def steps(arrays, memory, data, keys):
        def one(carry, key):
            arrays, memory = carry
            row_key, noise_key = jax.random.split(key)
            x = data[jax.random.randint(row_key, (BATCH,), 0, len(data))]

            def loss(modules):
                return -beta_tcvae(modules[0], modules[1], x, key=noise_key, beta=BETA).values.mean()

            modules = eqx.combine(arrays, rest)
            updates, memory = optimiser.update(eqx.filter_grad(loss)(modules), memory)
            return (eqx.filter(eqx.apply_updates(modules, updates), eqx.is_array), memory), None

        return jax.lax.scan(one, (arrays, memory), keys)[0]

    state = [arrays, memory]

    def run(n: int, index: int) -> float:
        keys = jax.random.split(jax.random.key(index), n)
        started = time.perf_counter()
        state[:] = jax.block_until_ready(steps(*state, data, keys))
        return time.perf_counter() - started

    return run


if __name__ == "__main__":
    main()
