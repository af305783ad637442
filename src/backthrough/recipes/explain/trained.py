"""The classifiers that are explained and what fills in their inputs: trained anew, or as they are shipped."""

from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from backthrough.core import PRNGKey
from backthrough.datasets import Arrays, Images
from backthrough.explain.infill import MaskedAutoencoder, load_infiller, save_infiller
from backthrough.recipes.explain.cell_classifier import CellClassifier, train_classifier
from backthrough.recipes.explain.cells import Windows, cut_windows, thinned
from backthrough.recipes.explain.scene_classifier import SceneClassifier, train_scene_classifier
from backthrough.recipes.explain.scenes import make_scenes
from backthrough.train import arrays_of, load_model, save_model, with_arrays

SHIPPED = Path(__file__).parent / "shipped"
MODELS = {"cells": CellClassifier, "scenes": SceneClassifier}
N_EACH = 20  # windows of each label that a training photograph gives at most
CELL_WIDTHS, SCENE_WIDTHS = (16, 32, 64), (12, 24, 48)
N_SCENES, N_FILLED = 8000, 3000  # scenes that the classifier and the infiller learn from
WORDS = "classifier that is explained"


class Trained(NamedTuple):
    """What an explanation needs.

    Attributes:
        model: The classifier of one example.
        infiller: What hidden pixels might be.
        mean: Of the examples that the infiller was trained on, for the plainest infill.
    """

    model: CellClassifier | SceneClassifier
    infiller: MaskedAutoencoder
    mean: np.ndarray


def train_cells(data: Arrays, *, key: PRNGKey, n_steps: tuple[int, int] = (300, 1500)) -> Trained:
    """Classifier and infiller of windows of blood cells, a few minutes on two cores.

    Args:
        data: The data set `bccd-wbc`; its training photographs are used.
        key: Determines weights, order and masks.
        n_steps: Of the classifier and of the infiller.
    """
    windows = cut_windows(data, "train", n_each=N_EACH, seed=0)
    return train_on_windows(windows, key=key, n_steps=n_steps)


def train_on_windows(windows: Windows, *, key: PRNGKey, n_steps: tuple[int, int]) -> Trained:
    """The same of windows that are cut."""
    model_key, infill_key = jax.random.split(key)
    model = train_classifier(windows, key=model_key, n_steps=n_steps[0])
    images = thinned(windows)
    infiller = MaskedAutoencoder.fit(
        images, key=infill_key, symmetry="square", widths=CELL_WIDTHS, n_steps=n_steps[1]
    )
    return Trained(model, infiller, np.asarray(infiller.mean))


def train_scenes(digits: Images, *, key: PRNGKey, n_steps: tuple[int, int] = (1100, 1500)) -> Trained:
    """Classifier and infiller of scenes of digits, a few minutes on two cores.

    Args:
        digits: The data set `mnist` or `mnist-small`; scenes are made of its training pictures.
        key: Determines weights, order and masks.
        n_steps: Of the classifier and of the infiller.
    """
    scenes = make_scenes(digits, N_SCENES, seed=0, split="train")
    model = train_scene_classifier(scenes, key=key, n_steps=n_steps[0])
    others = make_scenes(digits, N_FILLED, seed=2, split="train")
    infiller = MaskedAutoencoder.fit(
        others.images, key=jax.random.fold_in(key, 1), widths=SCENE_WIDTHS, n_steps=n_steps[1]
    )
    return Trained(model, infiller, np.asarray(infiller.mean))


def shipped(name: str) -> Trained:
    """What comes with the package: `"cells"` or `"scenes"`; tools/ship_explained.py has made it.

    Example:
        >>> shipped("cells").infiller.widths
        (16, 32, 64)
    """
    return load_trained(SHIPPED, name)


def load_trained(folder: Path, name: str) -> Trained:
    """What `save_trained` wrote.

    Raises:
        DataError: naming the file that cannot be read or is damaged.
    """
    _, arrays = load_model(folder / f"{name}-classifier.npz", WORDS)
    ordered = [arrays[f"array {index}"] for index in range(len(arrays))]
    infiller = load_infiller(folder / f"{name}-infiller.npz")
    assert isinstance(infiller, MaskedAutoencoder)
    model = with_arrays(lambda key: MODELS[name](key=key), ordered)
    return Trained(model, infiller, np.asarray(infiller.mean))


def save_trained(folder: Path, name: str, trained: Trained) -> None:
    """Writes classifier and infiller into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {f"array {index}": array for index, array in enumerate(arrays_of(trained.model))}
    save_model(folder / f"{name}-classifier.npz", WORDS, settings={"data": name}, arrays=arrays)
    save_infiller(folder / f"{name}-infiller.npz", trained.infiller)
