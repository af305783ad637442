"""Seconds of `backthrough run vae-mnist` at quick scale, and whether its samples look like digits.

    python benchmarks/vae_quick.py

The classifier that judges the samples is a support vector machine trained on the same real training digits;
the share of real test digits that it is as sure of is the peer. The last line is JSON for the results
table.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.svm import SVC

from backthrough.datasets import load
from backthrough.recipes.latent.vae_mnist.recipe import load_trained

SEEDS = (0, 1, 2)
SURE, N_SAMPLES = 0.9, 1000


def timed_run(seed: int, folder: Path) -> float:
    """Seconds of the whole command, in a process of its own that compiles everything anew."""
    command = [sys.executable, "-m", "backthrough", "run", "vae-mnist", "--seed", str(seed)]
    fresh = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(folder.with_suffix(".compiled"))}
    started = time.perf_counter()
    subprocess.run([*command, "--run-dir", str(folder)], check=True, stdout=sys.stderr, env=fresh)
    return time.perf_counter() - started


def samples(folder: Path) -> np.ndarray:
    """Means of p(x|z) at draws of z from the prior."""
    model, _ = load_trained(folder)
    keys = jax.random.split(jax.random.key(7), N_SAMPLES)
    return np.asarray(jax.vmap(lambda key: model.mean(model.sample_prior(key=key)))(keys))


def main() -> None:
    digits = load("mnist-small")
    judge = CalibratedClassifierCV(SVC(C=5.0), cv=3)
    judge.fit(digits.train_images.reshape(len(digits.train_images), -1) / 255, digits.train_labels)

    def share_sure(images: np.ndarray) -> float:
        return float((judge.predict_proba(images).max(1) >= SURE).mean())

    real = share_sure(digits.test_images.reshape(len(digits.test_images), -1) / 255)
    seconds, shares, bounds = [], [], []
    with tempfile.TemporaryDirectory() as parent:
        for seed in SEEDS:
            folder = Path(parent) / f"seed-{seed}"
            seconds.append(timed_run(seed, folder))
            shares.append(share_sure(samples(folder)))
            bounds.append([n["value"] for n in json.loads((folder / "result.json").read_text())["numbers"]])
            print(
                f"seed {seed}: {seconds[-1]:.1f} s, share {shares[-1]:.3f}, bounds {bounds[-1]}", flush=True
            )
    elbo, iwae_50, iwae_5000 = np.mean(bounds, axis=0)
    note = f"Test ELBO {elbo:.2f}, IWAE-50 {iwae_50:.2f}, IWAE-5000 (100 images) {iwae_5000:.2f} nats."
    rows = {
        "vae.quick": {
            "ours": statistics.fmean(seconds),
            "spread": statistics.stdev(seconds),
            "note": note,
        },
        "vae.quick-digits": {
            "ours": statistics.fmean(shares),
            "spread": statistics.stdev(shares),
            "peer": {"name": "real test digits", "value": real},
        },
    }
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
