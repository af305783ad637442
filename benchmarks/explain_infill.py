"""Infillers on windows of photographs of blood cells: errors, flips of a classifier, and leaks.

    python benchmarks/explain_infill.py

Trained on windows of the training photographs, up to 20 of each label from one, and of those with a white
cell only so many that there are two without for each (2,970), mirrored and turned: where many have a white
cell, a faint one is the best guess for a large hole. Measured on up to 4 of each label from a test photograph
(386). Errors are mean squares over hidden pixels, in units of each channel's variance over all training
windows, under masks of `kept_cells`. `--steps` is for training. The last line is JSON for the results table.
"""

import argparse
import json
import time
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from backthrough.core import ArgumentError
from backthrough.datasets import load
from backthrough.explain.infill import (
    Blur,
    ImageVAEAC,
    Infiller,
    LocalMean,
    Marginal,
    MaskedAutoencoder,
    Mean,
    Noise,
    check_infiller,
)
from backthrough.explain.infill.masks import CELLS, image_mask
from backthrough.recipes.explain.cell_classifier import CellClassifier, accuracy, logits_of, train_classifier
from backthrough.recipes.explain.cells import SIDE, Windows, cut_windows, thinned

N_EACH_TRAIN, N_EACH_TEST = 20, 4
WINDOWS = (5, 9)  # sides of the window of the local mean
GENERATIVE = "masked autoencoder"


def kept_cells(key: jax.Array, n: int) -> np.ndarray:
    """What errors are measured under: cells of 1, 2, 4 or 8 pixels, each kept with probability 1/2."""
    keys = jax.random.split(key, len(CELLS))
    masks = [
        np.asarray(jax.random.bernoulli(own, shape=(n, SIDE // side, SIDE // side)))
        .repeat(side, axis=1)
        .repeat(side, axis=2)
        for own, side in zip(keys, CELLS, strict=True)
    ]
    return np.stack([masks[i % len(CELLS)][i] for i in range(n)])


def training_masks(key: jax.Array, n: int) -> np.ndarray:
    """The mix that the autoencoder is trained with, harder: large rectangles, and nearly nothing kept."""
    return np.asarray(jax.vmap(lambda key: image_mask(key, SIDE, SIDE))(jax.random.split(key, n)))


def boxes_hidden(windows: Windows) -> np.ndarray:
    """Masks of positive windows that hide every pixel that the box of the white cell touches."""
    at = np.arange(SIDE)

    def inside(low: np.ndarray, high: np.ndarray) -> np.ndarray:
        return (at >= np.floor(low)[:, None]) & (at < np.ceil(high)[:, None])

    x0, y0, x1, y1 = windows.boxes.T
    return ~(inside(y0, y1)[:, :, None] & inside(x0, x1)[:, None])


def filled(infiller: Infiller, images: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """One draw for each image."""

    @eqx.filter_jit
    def draw(infiller: Infiller, images: jax.Array, masks: jax.Array, keys: jax.Array) -> jax.Array:
        return jax.vmap(lambda x, mask, key: infiller.sample(x, mask, key=key, n_samples=1)[0])(
            images, masks, keys
        )

    whole = jnp.broadcast_to(jnp.asarray(masks)[..., None], images.shape)
    keys = jax.random.split(jax.random.key(3), len(images))
    return np.asarray(draw(infiller, jnp.asarray(images), whole, keys))


def error(infiller: Infiller, images: np.ndarray, masks: np.ndarray, std: np.ndarray) -> float:
    squares = ((filled(infiller, images, masks) - images) / std) ** 2
    return float(squares[~masks].mean())


def positive(model: CellClassifier, images: np.ndarray) -> np.ndarray:
    logits = np.asarray(logits_of(model, images))
    return logits[:, 1] > logits[:, 0]


def leaks(infiller: Infiller, images: np.ndarray) -> bool:
    """Whether the leak test refuses it, told that it does not leak."""
    try:
        check_infiller(infiller, images, key=jax.random.key(4), n_masks=16)
    except ArgumentError as error:
        print(error)
        return True
    return infiller.leaks


def timed(
    cls: type[MaskedAutoencoder] | type[ImageVAEAC],
    images: np.ndarray,
    key: jax.Array,
    settings: dict[str, Any],
) -> tuple[MaskedAutoencoder | ImageVAEAC, str]:
    """A trained infiller, and what it took."""
    started, cpu = time.monotonic(), time.process_time()
    infiller = cls.fit(images, key=key, symmetry="square", **settings)
    seconds, cpu = time.monotonic() - started, time.process_time() - cpu
    n = sum(leaf.size for leaf in jax.tree_util.tree_leaves(eqx.filter(infiller, eqx.is_array)))
    took = f"{n:,} numbers, {seconds:.0f} s of training, {cpu:.0f} s of CPU"
    print(f"{cls.__name__}: {took}", flush=True)
    return infiller, took


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--vaeac", action="store_true", help="train the one that draws, too")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    data = load("bccd-wbc")
    train = cut_windows(data, "train", n_each=N_EACH_TRAIN, seed=arguments.seed)
    test = cut_windows(data, "test", n_each=N_EACH_TEST, seed=arguments.seed + 1)
    model_key, infill_key = jax.random.split(jax.random.key(arguments.seed))
    model = train_classifier(train, key=model_key)
    right = accuracy(model, test)
    images = thinned(train)
    print(f"{len(images)} windows to train on, {len(test.labels)} to test; classifier {right:.1%}")
    settings: dict[str, Any] = {} if arguments.steps is None else {"n_steps": arguments.steps}
    network, trained = timed(MaskedAutoencoder, images, infill_key, settings)
    average = images.mean((0, 1, 2))
    infillers: dict[str, Infiller] = {
        "mean": Mean.fit(images),
        "noise": Noise(-1.0, 1.0),
        "blur of 10/224": Blur(10 / 224 * SIDE),
        "blur of 4 pixels": Blur(4.0),
        **{f"local mean of {size}": LocalMean(size, default=average) for size in WINDOWS},
        "other windows": Marginal.fit(images),
        GENERATIVE: network,
    }
    if arguments.vaeac:
        infillers["convolutional VAEAC"], _ = timed(ImageVAEAC, images, infill_key, settings)
    std = train.images.std((0, 1, 2))
    n = len(test.labels)
    cells, mix = (own(jax.random.key(9), n) for own in (kept_cells, training_masks))
    called = positive(model, test.images)
    erased, clean = called & (test.labels == 1), ~called & (test.labels == 0)
    boxes = boxes_hidden(test)
    found = {}
    for name, infiller in infillers.items():
        own = [
            error(infiller, test.images[i :: len(CELLS)], cells[i :: len(CELLS)], std)
            for i in range(len(CELLS))
        ]
        print(f"{name:20s} by side of cells {dict(zip(CELLS, np.round(own, 3).tolist(), strict=True))}")
        flips = ~positive(model, filled(infiller, test.images[erased], boxes[erased]))
        negative = ~positive(model, filled(infiller, test.images[clean], mix[clean]))
        found[name] = {
            "error": error(infiller, test.images, cells, std),
            "error under training masks": error(infiller, test.images, mix, std),
            "flips": float(flips.mean()),
            "stays negative": float(negative.mean()),
            "leaks": leaks(infiller, test.images[:16]),
        }
        own = found[name]
        print(
            f"{name:20s} error {own['error']:.3f} ({own['error under training masks']:.3f} under training "
            f"masks), box erased: {own['flips']:.1%} of {erased.sum()} flip, {own['stays negative']:.1%} of "
            f"{clean.sum()} negatives stay, leaks: {own['leaks']}",
            flush=True,
        )
    ours = found[GENERATIVE]
    plain = found["mean"]["error"]
    local = [round(found[f"local mean of {size}"]["error"], 3) for size in WINDOWS]
    note = (
        f"{ours['error'] / plain:.3f} of that of the mean ({plain:.3f}); local mean {local} with windows "
        f"of {WINDOWS}; {trained}."
    )
    blurs = [found[name]["flips"] for name in ("blur of 10/224", "blur of 4 pixels")]
    flips = {name: own["flips"] for name, own in found.items() if not own["leaks"]}
    rows = {
        "explain.A4-error": {"ours": round(ours["error"], 3), "note": note},
        "explain.A4-erased": {"ours": round(ours["flips"], 4), "note": f"{erased.sum()} windows."},
        "explain.A4-negative": {"ours": round(ours["stays negative"], 4), "note": f"{clean.sum()} windows."},
        "explain.A4-leak": {"ours": int(ours["leaks"]), "note": "16 windows and masks, bit by bit."},
        "explain.A5-blur": {"ours": round(max(blurs), 4), "note": f"10/224, 4 pixels: {blurs}."},
        "explain.A5-generative": {"ours": round(ours["flips"], 4), "note": f"Without leaks: {flips}."},
    }
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
