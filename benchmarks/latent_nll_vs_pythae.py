"""Time of the estimate of log p(x) with 5,000 draws an image: pythae (torch) against ours, on the CPU.

    python benchmarks/latent_nll_vs_pythae.py [--torch-python PATH]

PATH is the Python of an environment with the extra `bench-torch`, .venv-torch/bin/python by default. Both
have the weights and images of the yardstick, and must find the same. pythae runs in a process of its own,
without gradients and at its fastest batch size; rounds are interleaved. The last line is JSON for the results
table.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from backthrough.datasets import load
from backthrough.latent import iwae
from latent_yardstick import load_yardstick

N_SAMPLES, N_IMAGES, ROUNDS = 5000, 10, 21
BATCH_SIZES = (100, 250, 500, 1000, 2500, 5000)
SAME = 0.5  # nats by which means over 10 images may differ: each estimate is off by several tenths


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--torch-python", default=".venv-torch/bin/python", help="has torch and pythae")
    interpreter = parser.parse_args().torch_python
    if shutil.which(interpreter) is None:
        parser.error(f"there is no {interpreter}: install the extra bench-torch and give --torch-python")
    yardstick = load_yardstick()
    x = yardstick.x.astype(np.float32)
    script = Path(__file__).parent / "peers" / "pythae_nll.py"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "yardstick.npz"
        np.savez(file, x=x, **load("bdmc-vae-mnist").arrays)
        peer = subprocess.Popen(
            [interpreter, str(script), str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert peer.stdin is not None
        assert peer.stdout is not None
        asking, answering = peer.stdin, peer.stdout

        def theirs(batch_size: int) -> dict:
            asked = {"batch_size": batch_size, "n_images": N_IMAGES, "n_samples": N_SAMPLES}
            asking.write(json.dumps(asked) + "\n")
            asking.flush()
            return json.loads(answering.readline())

        estimate = eqx.filter_jit(iwae)

        def ours(seed: int) -> tuple[float, float]:
            started = time.perf_counter()
            values = estimate(
                yardstick.model,
                yardstick.encoder,
                jnp.asarray(x[:N_IMAGES]),
                key=jax.random.key(seed),
                n_samples=N_SAMPLES,
            )
            mean = float(values.mean())
            return time.perf_counter() - started, mean

        theirs(BATCH_SIZES[-1])
        first = {size: [theirs(size)["seconds"] for _ in range(3)] for size in BATCH_SIZES}
        best = min(BATCH_SIZES, key=lambda size: min(first[size]))
        started = time.perf_counter()
        ours(0)
        compiled = time.perf_counter() - started
        rounds, found = [], []
        for seed in range(1, ROUNDS + 1):
            other, own = theirs(best), ours(seed)
            rounds.append((other["seconds"], own[0]))
            found.append((other["log_p"], own[1]))
            print(f"{other['seconds']:.2f} s against {own[0]:.2f} s", flush=True)
        asking.write("\n")
        asking.close()
        peer.wait()
    log_ps = np.mean(found, axis=0)
    assert abs(log_ps[0] - log_ps[1]) < SAME, f"the estimates differ: {log_ps}"
    columns = list(zip(*rounds, strict=True))
    seconds = [statistics.median(column) / N_IMAGES for column in columns]
    fastest = [min(column) / N_IMAGES for column in columns]
    blocks = [rounds[start::3] for start in range(3)]
    ratios = [
        statistics.median(a for a, _ in block) / statistics.median(b for _, b in block) for block in blocks
    ]
    sizes = ", ".join(f"{size}: {min(own) / N_IMAGES:.3f}" for size, own in first.items())
    cores = len(os.sched_getaffinity(0))
    note = (
        f"{seconds[0]:.3f} against {seconds[1]:.3f} seconds an image on {cores} core(s), medians of {ROUNDS} "
        f"rounds of {N_IMAGES} images (the fastest rounds: {fastest[0]:.3f} and {fastest[1]:.3f}); ours is "
        f"compiled before, and the first call takes {compiled:.1f} s. "
        f"pythae's batch size is {best} (seconds an image by batch size: {sizes}; 100 is its default). "
        f"Mean log p(x) {log_ps[0]:.2f} and {log_ps[1]:.2f} nats."
    )
    row = {
        "ours": seconds[0] / seconds[1],
        "spread": statistics.stdev(ratios) / len(ratios) ** 0.5,
        "peer": {"name": "pythae, seconds an image", "value": seconds[0]},
        "note": note,
    }
    print(json.dumps({"latent.nll-speed": row}))


if __name__ == "__main__":
    main()
