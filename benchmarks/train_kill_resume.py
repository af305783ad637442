"""Kills a training run at random moments, resumes it, and compares it byte for byte with one left alone.

    python benchmarks/train_kill_resume.py [--kills 20] [--seed 0]

The last line is a JSON object for the results table: how many kills (SIGKILL) were survived with parameters,
metrics and result identical to the uninterrupted run's.
"""

import argparse
import json
import multiprocessing
import tempfile
import time
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
import optax

from backthrough.latent import bernoulli_vae, elbo
from backthrough.train import Run, Stream, fit, mean_number

N_STEPS = 400
COMPARED = ("metrics.jsonl", "result.json", "config.json", "checkpoints/step-000000000400.npz")


def train_in_child(path: Path, ready: Event) -> None:
    """A latent-variable model on made-up bits, slowed so that a kill can hit any part of the loop."""
    jax.config.update("jax_compilation_cache_dir", str(path.parent / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    data = np.random.default_rng(0).integers(0, 2, (256, 12)).astype(np.float32)
    key = jax.random.key(0)
    initial = bernoulli_vae(data.mean(0), latent_size=2, hidden_sizes=(16,), key=key)
    optimiser = optax.adam(1e-2)

    def batch(step: int) -> np.ndarray:
        time.sleep(0.003)
        return data[np.random.default_rng([1, step]).integers(0, len(data), 32)]

    def step(state, x, *, key):
        modules, memory = state

        def loss(modules):
            model, encoder = modules
            return -elbo(model, encoder, x, key=key).mean()

        value, gradient = eqx.filter_value_and_grad(loss)(modules)
        updates, memory = optimiser.update(gradient, memory)
        return (eqx.apply_updates(modules, updates), memory), {"loss": value}

    @eqx.filter_jit
    def bounds(state, key):
        (model, encoder), _ = state
        return elbo(model, encoder, jax.numpy.asarray(data), key=key)

    run = Run(path, config={"n_steps": N_STEPS}, resume=True)
    ready.set()
    state = fit(
        step,
        (initial, optimiser.init(eqx.filter(initial, eqx.is_array))),
        Stream(batch),
        n_steps=N_STEPS,
        key=key,
        run=run,
        evaluate=lambda state, *, key: {"valid": bounds(state, key).mean()},
        evaluate_every=30,
        log_every=3,
        checkpoint_every=20,
        steps_per_dispatch=7,
    ).state
    run.save_result([mean_number("bound", np.asarray(bounds(state, key)), "nats", "all data")])


def start(path: Path) -> BaseProcess:
    """A child that has opened its run directory and is about to train."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["backthrough.latent", "backthrough.train", "optax"])
    ready = context.Event()
    child = context.Process(target=train_in_child, args=(path, ready))
    child.start()
    if not ready.wait(timeout=120):
        raise RuntimeError(f"the training process has not begun; its exit code is {child.exitcode}")
    return child


def finish(path: Path) -> float:
    """Lets a run go to its end; returns the seconds that it trained."""
    child = start(path)
    started = time.monotonic()
    child.join()
    if child.exitcode != 0:
        raise RuntimeError(f"training in {path} ended with code {child.exitcode}")
    return time.monotonic() - started


def count_survived(kills: int, seed: int, folder: Path) -> tuple[int, int]:
    """Makes `kills` kills; returns those survived and those that came before the first checkpoint."""
    whole = folder / "whole"
    finish(whole)  # compiles
    seconds = finish(folder / "timed")
    generator = np.random.default_rng(seed)
    done = survived = early = index = 0
    while done < kills:
        path, here = folder / f"killed-{index}", 0
        index += 1
        while done < kills:
            child = start(path)
            time.sleep(0.0 if done == 0 else generator.uniform(0, seconds))
            child.kill()
            child.join()
            if child.exitcode == 0:
                break  # it was faster than the kill
            done, here = done + 1, here + 1
            early += not any(path.glob("checkpoints/*.json"))
        finish(path)
        same = all((path / name).read_bytes() == (whole / name).read_bytes() for name in COMPARED)
        survived += here * same
        print(f"{path.name}: {here} kills, {'identical' if same else 'DIFFERENT'}", flush=True)
    return survived, early


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        survived, early = count_survived(options.kills, options.seed, Path(folder))
    note = f"{options.kills} kills, {early} of them before the first checkpoint."
    print(json.dumps({"train.kill-resume": {"ours": survived / options.kills, "note": note}}))


if __name__ == "__main__":
    main()
