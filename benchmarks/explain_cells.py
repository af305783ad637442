"""Explanations of a classifier of blood cells: losses, localisation, and what a generative infill is worth.

    python benchmarks/explain_cells.py [--folder FOLDER]

48 test windows of 32 x 32 that hold a white cell and are classified rightly, a grid of 8 x 8, .02 log-odds a
pixel. The classifier and the U-Net are trained first (minutes) and kept in FOLDER, runs/explain_cells by
default, where the explanations are kept too. The last line is JSON for the results table.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict

from backthrough.datasets import Arrays, load
from backthrough.explain import Explanation, Grid
from backthrough.explain.infill import (
    Blur,
    Infiller,
    LocalMean,
    MaskedAutoencoder,
    Mean,
    Noise,
    load_infiller,
    save_infiller,
)
from backthrough.explain.measures import localisation, localisation_error, pointing_game
from backthrough.recipes.explain.cell_classifier import CellClassifier, accuracy, logits_of, train_classifier
from backthrough.recipes.explain.cells import SIDE, Windows, cut_windows
from explain_claim import OURS, bbmp_maps, differences, explained, measured

N_WINDOWS, CELLS, AREA_COST = 48, 8, 0.02 * SIDE**2
UNITS = Grid(CELLS, CELLS)


def trained(folder: Path, windows: Windows) -> tuple[CellClassifier, Infiller]:
    """Classifier and generative infiller, from the folder or put there."""
    folder.mkdir(parents=True, exist_ok=True)
    model = CellClassifier(key=jax.random.key(0))
    if not (folder / "classifier.eqx").exists():
        eqx.tree_serialise_leaves(
            str(folder / "classifier.eqx"), train_classifier(windows, key=jax.random.key(0))
        )
    model = eqx.tree_deserialise_leaves(str(folder / "classifier.eqx"), model)
    if not (folder / "infiller.npz").exists():
        both = balanced(windows)
        infill = MaskedAutoencoder.fit(both, key=jax.random.key(0), symmetry="square")
        save_infiller(folder / "infiller.npz", infill)
    return model, load_infiller(folder / "infiller.npz")


def balanced(windows: Windows) -> np.ndarray:
    """As many windows with a white cell as without: else one is what large holes are filled in with."""
    positive, negative = (np.flatnonzero(windows.labels == label) for label in (1, 0))
    n = min(len(positive), len(negative))
    generator = np.random.default_rng(0)
    chosen = [generator.permutation(own)[:n] for own in (positive, negative)]
    return windows.images[np.sort(np.concatenate(chosen))]


def found_by(model: CellClassifier, windows: Windows) -> np.ndarray:
    """Windows with a white cell that the classifier finds."""
    right = np.asarray(logits_of(model, windows.images)).argmax(1) == 1
    return np.flatnonzero((windows.labels == 1) & right)[:N_WINDOWS]


def best_rectangle(model: CellClassifier, infill: Infiller, x: np.ndarray) -> np.ndarray:
    """The least SDR loss of each window over all rectangles of two cells and more a side."""
    sets = []
    for top in range(CELLS):
        for left in range(CELLS):
            for bottom in range(top + 2, CELLS + 1):
                for right in range(left + 2, CELLS + 1):
                    own = np.zeros((CELLS, CELLS), bool)
                    own[top:bottom, left:right] = True
                    sets.append(own)
    side = SIDE // CELLS
    hidden = jnp.asarray(np.array(sets).repeat(side, axis=1).repeat(side, axis=2))[..., None]
    shape = (SIDE, SIDE, 3)

    @jax.jit
    def losses(image: jax.Array) -> jax.Array:
        def loss(own: jax.Array) -> jax.Array:
            mask = jnp.broadcast_to(~own, shape)
            logits = model(infill.sample(image, mask, key=jax.random.key(0), n_samples=1)[0])
            return logits[1] - logits[0] + AREA_COST * jnp.mean(own)

        return jax.lax.map(loss, hidden, batch_size=49).min()

    return np.array([losses(jnp.asarray(image)) for image in x])


def kept(path: Path, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Arrays from a file, or made and put there."""
    if not path.exists():
        made: dict[str, Any] = make()
        np.savez(path, **made)
    with np.load(path) as arrays:
        return dict(arrays)


def auc(counterfactuals: np.ndarray, real: np.ndarray) -> float:
    """How well a classifier tells them apart: cross-validated logistic regression of halved pixels."""
    both = np.concatenate([counterfactuals, real])
    halved = both.reshape(len(both), SIDE // 2, 2, SIDE // 2, 2, 3).mean(axis=(2, 4))
    rough = np.abs(np.diff(both, axis=1)).mean(axis=(2,)), np.abs(np.diff(both, axis=2)).mean(axis=(1,))
    features = np.concatenate([halved.reshape(len(both), -1), *(r.reshape(len(both), -1) for r in rough)], 1)
    features = (features - features.mean(0)) / (features.std(0) + 1e-6)
    labels = np.repeat([1, 0], [len(counterfactuals), len(real)])
    model = LogisticRegression(C=0.01, max_iter=2000)
    p = np.asarray(cross_val_predict(model, features, labels, cv=8, method="predict_proba"))[:, 1]
    return float(roc_auc_score(labels, p))


def of_the_search(found: Explanation, boxes: np.ndarray, rectangle: np.ndarray) -> dict[str, dict]:
    assert found.sdr is not None
    assert found.ssr is not None
    overlap = localisation(found.mask("sdr").astype(float), boxes).overlap
    loss, others = found.sdr.loss, rectangle
    error = loss.std(ddof=1) / len(loss) ** 0.5
    gain = loss - others
    return {
        "explain.A6-loss": {"ours": round(float(loss.mean()), 3), "note": f"Standard error {error:.2f}."},
        "explain.A6-success": {"ours": round(float(found.sdr.success.mean()), 4), "note": ""},
        "explain.A6-iou": {
            "ours": round(float(overlap.mean()), 3),
            "note": f"{int((overlap >= 0.5).sum())} of {len(overlap)} windows have .5 or more.",
        },
        "explain.A6-calls": {"ours": found.sdr.n_model_calls, "note": ""},
        "explain.A6-rectangle": {
            "ours": round(float(gain.mean()), 3),
            "note": f"The best rectangle has {others.mean():.2f}, with 784 calls; ours is better in "
            f"{int((gain < 0).sum())} of {len(gain)} windows.",
        },
        "explain.A7-success": {"ours": round(float(found.ssr.success.mean()), 4), "note": ""},
        "explain.A7-area": {
            "ours": round(float(found.ssr.area.mean()), 4),
            "note": f"Mean loss {found.ssr.loss.mean():.2f}.",
        },
    }


def of_places(found: dict[str, Explanation], boxes: np.ndarray) -> dict[str, dict]:
    points, errors = {}, {}
    for name in ("mean", "local mean", OURS):
        for own in found[name].regions:
            maps = found[name].draw(own.relevance)
            points[f"{name} {own.kind}"] = float(np.mean(pointing_game(maps, boxes)))
            errors[f"{name} {own.kind}"] = localisation_error(maps, boxes)
    words = [", ".join(f"{name} {value:.3f}" for name, value in own.items()) for own in (points, errors)]
    return {
        "explain.A8-pointing": {"ours": round(min(points.values()), 4), "note": f"{words[0]}."},
        "explain.A8-wsl": {"ours": round(max(errors.values()), 4), "note": f"{words[1]}."},
    }


def of_plausibility(found: dict[str, Explanation], real: np.ndarray) -> dict[str, dict]:
    values = {}
    for name in (OURS, "mean", "blur", "noise"):
        region = found[name].sdr
        assert region is not None
        values[name] = auc(region.counterfactuals[:, 0], real)
    away = {name: abs(value - 0.5) for name, value in values.items()}
    nearest = min(value for name, value in away.items() if name != OURS)
    each = ", ".join(f"{name} {value:.3f}" for name, value in values.items())
    note = f"AUC: {each}; {len(real)} real windows, {N_WINDOWS} counterfactuals."
    return {"explain.plausible": {"ours": round(away[OURS] - nearest, 4), "note": note}}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, default=Path("runs/explain_cells"))
    folder = parser.parse_args().folder
    data = load("bccd-wbc")
    assert isinstance(data, Arrays)
    train, test = cut_windows(data, "train", n_each=20, seed=0), cut_windows(data, "test", n_each=2, seed=0)
    model, generative = trained(folder, train)
    print(f"accuracy on {len(test.labels)} test windows: {accuracy(model, test):.3f}", flush=True)
    chosen = found_by(model, test)
    x, boxes = test.images[chosen], test.boxes[chosen]
    average = Mean.fit(train.images)
    infills: dict[str, Infiller] = {
        OURS: generative,
        "mean": average,
        "local mean": LocalMean(5),
        "blur": Blur(SIDE * 10 / 224),
        "noise": Noise(-1.0, 1.0),
    }
    found = explained(model, x, 1, infills, UNITS, AREA_COST, folder)
    rectangle = kept(folder / "rectangles.npz", lambda: {"loss": best_rectangle(model, generative, x)})[
        "loss"
    ]
    result = of_the_search(found[OURS], boxes, rectangle) | of_places(found, boxes)
    print(result, flush=True)
    maps = {name: own.map for name, own in found.items() if name != "local mean"}
    maps["BBMP"] = bbmp_maps(model, x, 1, UNITS)
    result |= differences(measured(model, x, 1, maps, boxes, generative, UNITS), "cells")
    result |= of_plausibility(found, test.images[test.labels == 0])
    print(json.dumps(result))


if __name__ == "__main__":
    main()
