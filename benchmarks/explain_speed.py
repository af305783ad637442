"""How long explanations take, and whether a batch gives what single calls give.

    python benchmarks/explain_speed.py
    python benchmarks/explain_speed.py --gpu [--side 224] [--images 32] [--steps 300] [--at-once 16]

First: 48 windows of 32 x 32, pixels as units, 150 steps of 4 relaxed masks, the mean filled in, a network of
three convolutions; then six by leave-one-out on a grid, in one call and one by one. With `--gpu` a network of
a ResNet-50's size on pictures, 300 steps of 8 masks, in batches and in a loop over single images. The last
line is JSON for the results table.
"""

import argparse
import json
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from backthrough.explain import Explanation, Grid, Pixels, Search, explain
from backthrough.explain.infill import Constant
from backthrough.recipes.explain.cell_classifier import CellClassifier

N_WINDOWS, SIDE = 48, 32
LEARN_ONLY = {"n_starts": 1, "most_windows": 0, "start_logit": 0.0, "learning_rate": 0.05, "warm_up": 30}


class Wide(eqx.Module):
    """About as many parameters and operations as a ResNet-50: 16 blocks of three convolutions."""

    stem: eqx.nn.Conv2d
    blocks: list
    head: eqx.nn.Linear

    def __init__(self, *, key: Array):
        keys = iter(jax.random.split(key, 60))
        self.stem = eqx.nn.Conv2d(3, 64, 7, stride=4, padding=3, key=next(keys))
        self.blocks, width = [], 64
        for inner, n in ((64, 3), (128, 4), (256, 6), (512, 3)):
            for i in range(n):
                stride = 2 if i == 0 and inner > 64 else 1
                layers = [
                    eqx.nn.Conv2d(width, inner, 1, key=next(keys)),
                    eqx.nn.Conv2d(inner, inner, 3, stride=stride, padding=1, key=next(keys)),
                    eqx.nn.Conv2d(inner, 4 * inner, 1, key=next(keys)),
                ]
                self.blocks.append(layers)
                width = 4 * inner
        self.head = eqx.nn.Linear(width, 1000, key=next(keys))

    def __call__(self, x: Array) -> Array:
        """Logits."""
        x = jax.nn.relu(self.stem(jnp.moveaxis(x, -1, 0)))
        for layers in self.blocks:
            own = x
            for layer in layers:
                own = jax.nn.relu(layer(own))
            x = own + x if own.shape == x.shape else own
        return self.head(x.mean(axis=(1, 2)))


def of_windows() -> dict[str, dict]:
    """Seconds of one call, compiling included."""
    model = CellClassifier(key=jax.random.key(0))
    x = np.random.default_rng(0).uniform(-1, 1, (N_WINDOWS, SIDE, SIDE, 3)).astype(np.float32)
    search = Search(**LEARN_ONLY, n_steps=150, n_samples=4)
    seconds = {}
    for at_once in (1, 16):
        started = time.perf_counter()
        explain(
            model, x, target=1, infill=Constant(0.0), units=Pixels(), objective="ssr", search=search,
            n_counterfactuals=1, at_once=at_once, key=jax.random.key(0),
        )  # fmt: skip
        seconds[at_once] = time.perf_counter() - started
    note = f"One input at a time, the default: {seconds[1]:.1f} s; 16 at once: {seconds[16]:.1f} s."
    return {"explain.A12": {"ours": round(seconds[1], 1), "note": note}}


def of_batches() -> dict[str, dict]:
    """The largest difference of any array."""
    model = CellClassifier(key=jax.random.key(0))
    x = np.random.default_rng(1).uniform(-1, 1, (6, SIDE, SIDE, 3)).astype(np.float32)
    keys = jax.random.split(jax.random.key(3), len(x))

    def call(rows: slice) -> Explanation:
        return explain(
            model, x[rows], target=1, infill=Constant(0.0), units=Grid(8, 8), estimator="loo",
            area_cost=5.0, search=Search(n_rounds=8, n_steps=20), key=keys[rows],
        )  # fmt: skip

    whole, again = call(slice(None)), call(slice(None))
    largest = 0.0
    for i in range(len(x)):
        alone = call(slice(i, i + 1))
        for one, first, second in zip(alone.regions, whole[i].regions, again[i].regions, strict=True):
            for name in ("probability", "selected", "score", "history", "counterfactuals", "curve"):
                own = np.asarray(getattr(one, name), float)
                for other in (first, second):
                    largest = max(largest, float(np.abs(own - getattr(other, name)).max()))
    return {
        "explain.A13": {"ours": largest, "note": "Six inputs, two regions, all arrays; bit for bit if 0."}
    }


def of_large_images(side: int, n_images: int, n_steps: int, at_once: int) -> dict[str, dict]:
    model = Wide(key=jax.random.key(0))
    n_parameters = sum(leaf.size for leaf in jax.tree_util.tree_leaves(eqx.filter(model, eqx.is_array)))
    x = np.random.default_rng(0).uniform(-1, 1, (n_images, side, side, 3)).astype(np.float32)
    grid = (side // 4, side // 4)
    search = Search(**LEARN_ONLY, n_steps=n_steps, n_samples=8, grid=grid)

    def seconds(images: np.ndarray, at_once: int) -> float:
        started = time.perf_counter()
        explain(
            model, images, target=1, infill=Constant(0.0), units=Pixels(), objective="ssr", search=search,
            n_counterfactuals=1, at_once=at_once, estimator="concrete", key=jax.random.key(0),
        )  # fmt: skip
        return time.perf_counter() - started

    batch = seconds(x, at_once) / n_images
    loop = float(np.mean([seconds(x[i : i + 1], 1) for i in range(2)]))
    program = seconds(x[: min(4, n_images)], 1) / min(4, n_images)
    note = (
        f"{n_parameters / 1e6:.1f} million parameters, {side} x {side}, {n_steps} steps: {1 / batch:.2f} "
        f"images/s in batches of {at_once}; one call for each image, which compiles anew, {loop:.2f} s; one "
        f"image at a time in one call {program:.2f} s."
    )
    return {"explain.A12-gpu": {"ours": round(loop / batch, 1), "note": note}}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--at-once", type=int, default=16)
    arguments = parser.parse_args()
    if arguments.gpu:
        found = of_large_images(arguments.side, arguments.images, arguments.steps, arguments.at_once)
    else:
        found = of_windows() | of_batches()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
