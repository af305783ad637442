"""Which part of a photograph makes a classifier see a white cell (Chang et al. 2019, arXiv 1807.08024)."""

import jax
import numpy as np

from backthrough.core import check_integer
from backthrough.datasets import Arrays, load
from backthrough.explain import Grid
from backthrough.recipes.explain.cell_classifier import CellClassifier, logits_of
from backthrough.recipes.explain.cells import Windows, cut_windows, small_windows
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
from backthrough.recipes.explain.fido_cells.config import Config
from backthrough.recipes.explain.trained import Trained, load_trained, save_trained, shipped, train_cells
from backthrough.train import Headline, Number, Run

SQUARE = (8, 4)  # side and stride of occlusion


def run(config: Config, run: Run) -> None:
    """Explains windows with each infiller, and measures and draws the regions."""
    check(config)
    check_integer("cells", config.cells, minimum=2)
    trained, windows = _prepared(config, run)
    rows = _found_by(trained, windows)[: config.n_inputs]
    with plain_code(config.is_brief):
        case = Case(
            trained.model,
            windows.images[rows],
            np.ones(len(rows), int),
            Grid(config.cells, config.cells),
            config.area_cost,
            windows.boxes[rows].astype(float),
            trained.mean,
            SQUARE,
        )
        found = explanations(config, case, trained.infiller, run)
        numbers = measured(found, occlusion_maps(case), case)
    picture = draw(
        run, found, case, what="Windows with a white cell", truth="the box that people drew around it"
    )
    run.save_result(numbers, headline=_headline(numbers, config, len(rows), picture))


def _prepared(config: Config, run: Run) -> tuple[Trained, Windows]:
    """Classifier, infiller and windows to explain."""
    data = load(config.data)
    assert isinstance(data, Arrays)
    if config.data == "cell-windows-small":
        return shipped("cells"), small_windows(data)
    folder = run.path / "trained"
    if not (folder / "cells-infiller.npz").exists():
        save_trained(folder, "cells", train_cells(data, key=jax.random.key(config.seed)))
    return load_trained(folder, "cells"), cut_windows(data, "test", n_each=1, seed=1)


def _found_by(trained: Trained, windows: Windows) -> np.ndarray:
    """Windows with a white cell that the classifier finds."""
    assert isinstance(trained.model, CellClassifier)
    right = np.asarray(logits_of(trained.model, windows.images)).argmax(1) == 1
    return np.flatnonzero((windows.labels == 1) & right)


def _headline(numbers: list[Number], config: Config, n: int, picture: str) -> Headline:
    area = value_of(numbers, f"area of the SDR ({GENERATIVE})")
    lost = round(n * value_of(numbers, f"success of the SDR ({GENERATIVE})"))
    name = f"overlap ({GENERATIVE})"
    others = [f"{value_of(numbers, f'overlap ({OCCLUSION})'):.2f} by occlusion"]
    if "mean" in config.infills:
        others.insert(0, f"{value_of(numbers, 'overlap (mean)'):.2f} with the mean filled in")
    sentence = (
        f"With {area:.0%} of a window hidden and filled in realistically, {lost} of {n} windows lose their "
        "white cell; that part overlaps the box that people drew around the cell by "
        f"{value_of(numbers, name):.2f} (intersection over union; {', '.join(others)})."
    )
    return Headline(sentence, name, picture)
