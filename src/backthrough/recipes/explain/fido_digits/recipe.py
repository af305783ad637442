"""Which part of a scene makes a classifier see a digit (Chang et al. 2019, arXiv 1807.08024)."""

import jax
import numpy as np

from backthrough.core import DataError, check_integer
from backthrough.datasets import Images, load
from backthrough.explain import Grid, JaxModel
from backthrough.recipes.explain.comparison import (
    GENERATIVE,
    OCCLUSION,
    Case,
    check,
    draw,
    explanations,
    measured,
    occlusion_maps,
    plain_code,
    value_of,
)
from backthrough.recipes.explain.fido_digits.config import Config
from backthrough.recipes.explain.scene_classifier import SceneClassifier, presence_logits
from backthrough.recipes.explain.scenes import Scenes, make_scenes
from backthrough.recipes.explain.trained import Trained, load_trained, save_trained, shipped, train_scenes
from backthrough.train import Headline, Number, Run

SQUARE = (8, 4)  # side and stride of occlusion


def run(config: Config, run: Run) -> None:
    """Explains scenes with each infiller, and measures and draws the regions."""
    check(config)
    check_integer("cells", config.cells, minimum=2)
    data = load(config.data)
    assert isinstance(data, Images)
    trained = _trained(config, data, run)
    scenes = make_scenes(data, 2 * config.n_inputs + 4, seed=1, split="test")
    rows = _found_by(trained, scenes)[: config.n_inputs]
    if not len(rows):
        raise DataError("the classifier finds the digit that is asked about in no scene: train it longer")
    with plain_code(config.is_brief):
        case = Case(
            JaxModel(trained.model, outputs="sigmoid"),
            scenes.images[rows],
            scenes.target[rows],
            Grid(config.cells, config.cells),
            config.area_cost,
            scenes.target_boxes[rows],
            trained.mean,
            SQUARE,
            scenes.target_masks[rows],
            scenes.distractor_masks[rows],
        )
        found = explanations(config, case, trained.infiller, run)
        numbers = measured(found, occlusion_maps(case), case)
    asked = ", ".join(map(str, case.target[:4]))
    picture = draw(
        run, found, case, what=f"Scenes that are asked for a digit ({asked})", truth="the box of that digit"
    )
    run.save_result(numbers, headline=_headline(numbers, config, len(rows), picture))


def _trained(config: Config, data: Images, run: Run) -> Trained:
    if config.data == "mnist-small":
        return shipped("scenes")
    folder = run.path / "trained"
    if not (folder / "scenes-infiller.npz").exists():
        save_trained(folder, "scenes", train_scenes(data, key=jax.random.key(config.seed)))
    return load_trained(folder, "scenes")


def _found_by(trained: Trained, scenes: Scenes) -> np.ndarray:
    """Scenes in which the classifier finds the digit that is asked about."""
    assert isinstance(trained.model, SceneClassifier)
    logits = presence_logits(trained.model, scenes)
    return np.flatnonzero(logits[np.arange(len(scenes)), scenes.target] > 0)


def _headline(numbers: list[Number], config: Config, n: int, picture: str) -> Headline:
    area = value_of(numbers, f"area of the SDR ({GENERATIVE})")
    lost = round(n * value_of(numbers, f"success of the SDR ({GENERATIVE})"))
    name = f"mass ({GENERATIVE})"
    others = [f"{value_of(numbers, f'mass ({OCCLUSION})'):.0%} by occlusion"]
    if "mean" in config.infills:
        others.insert(0, f"{value_of(numbers, 'mass (mean)'):.0%} with the mean filled in")
    sentence = (
        f"With {area:.0%} of a scene hidden and filled in realistically, {lost} of {n} scenes lose the digit "
        f"that is asked about; {value_of(numbers, name):.0%} of the map's relevance lies on its very pixels "
        f"({', '.join(others)})."
    )
    return Headline(sentence, name, picture)
