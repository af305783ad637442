"""Trains what comes with the package for explanations: classifiers and infillers of cells and of scenes.

    python tools/ship_explained.py [--only cells|scenes] [--folder FOLDER]

Needs the data set bccd-wbc for cells (see docs/datasets.md), and nothing for scenes; takes some minutes on
two cores. Into the folder, by default src/backthrough/recipes/explain/shipped, go four files, 1.3 MB
together. What the classifiers get right is printed. Another machine gives other weights.
"""

import argparse
import time
from pathlib import Path

import jax
import numpy as np

from backthrough.datasets import Arrays, Images, load
from backthrough.recipes.explain.cell_classifier import CellClassifier, accuracy
from backthrough.recipes.explain.cells import cut_windows
from backthrough.recipes.explain.scene_classifier import SceneClassifier, presence_logits
from backthrough.recipes.explain.scenes import make_scenes
from backthrough.recipes.explain.trained import SHIPPED, save_trained, train_cells, train_scenes


def main() -> None:
    """Trains, writes and says what the classifiers get right."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=("cells", "scenes"))
    parser.add_argument("--folder", type=Path, default=SHIPPED)
    arguments = parser.parse_args()
    for name in ("cells", "scenes"):
        if arguments.only in (None, name):
            began, cpu = time.monotonic(), time.process_time()
            right = ship_cells(arguments.folder) if name == "cells" else ship_scenes(arguments.folder)
            print(
                f"{name}: {right}; {time.monotonic() - began:.0f} s, {time.process_time() - cpu:.0f} s of CPU"
            )
            for path in sorted(arguments.folder.glob(f"{name}-*.npz")):
                print(f"{path.stat().st_size:>9,} {path.name}")


def ship_cells(folder: Path) -> str:
    """Writes those of cells."""
    data = load("bccd-wbc")
    assert isinstance(data, Arrays)
    trained = train_cells(data, key=jax.random.key(0))
    save_trained(folder, "cells", trained)
    tests = cut_windows(data, "test", n_each=4, seed=1)
    assert isinstance(trained.model, CellClassifier)
    return f"{accuracy(trained.model, tests):.1%} of {len(tests.labels)} test windows are told"


def ship_scenes(folder: Path) -> str:
    """Writes those of scenes."""
    digits = load("mnist-small")
    assert isinstance(digits, Images)
    trained = train_scenes(digits, key=jax.random.key(0))
    save_trained(folder, "scenes", trained)
    tests = make_scenes(digits, 200, seed=1, split="test")
    assert isinstance(trained.model, SceneClassifier)
    logits = presence_logits(trained.model, tests)
    found = logits[np.arange(len(tests)), tests.target] > 0
    return (
        f"{((logits > 0) == tests.present).mean():.1%} of answers are right, {found.mean():.1%} targets found"
    )


if __name__ == "__main__":
    main()
