"""A user's own file as features and a target, and the rows that are held out."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Int

from backthrough.core import ArgumentError, DataError, check_choice
from backthrough.datasets import Cells, read_cells
from backthrough.regress.classifier import BayesianClassifier
from backthrough.regress.deciding import levels_of
from backthrough.regress.regressor import BayesianRegressor
from backthrough.regress.storage import KIND
from backthrough.train import load_model

Task = Literal["regression", "classification"]
FEWEST_ROWS = 10
MANY_ROWS, PART_OF_FEW, PART_OF_MANY = 1_000, 0.2, 0.1  # held out of fewer rows than that, and of more
MOST_CLASSES, FEWEST_OF_A_CLASS = 10, 10  # of whole numbers that are taken for classes
MOST_DIFFERENT = 0.5  # classes for a row, beyond which they cannot be learned


@dataclass(frozen=True)
class Labelled:
    """The rows of a file that have a target.

    Attributes:
        features: All other columns; the index names the line of the file.
        target: Numbers, or classes as text.
        task: What is to be done with it.
        why: How that was decided.
        n_without: Rows without a target, which are left out.
    """

    features: pd.DataFrame
    target: pd.Series
    task: Task
    why: str
    n_without: int


class Held(NamedTuple):
    """Row numbers to train on, and to measure by."""

    train: Int[np.ndarray, "train"]
    test: Int[np.ndarray, "test"]


def read_labelled(
    path: str | Path,
    target: str,
    *,
    task: str = "auto",
    categories: Sequence[str] = (),
    columns: Sequence[str] = (),
) -> Labelled:
    """Reads a CSV file with a header line, in which one column is to be predicted.

    Cells that are blank, NA, NaN or null are missing. A column whose other cells are all numbers is one of
    numbers; one of whose cells more than half are numbers has mistakes in it, and is refused.

    Args:
        path: The file.
        target: The column to predict.
        task: "regression", "classification", or "auto": text is classes, and so are whole numbers with at
            most ten values that occur ten times each on average.
        categories: Columns that are categories although they may look like numbers.
        columns: The columns to predict by; all others when none is named.

    Raises:
        ArgumentError: if a column is missing, with the nearest name.
        DataError: naming file, line and column of what cannot be used.
    """
    check_choice("task", task, ("auto", "regression", "classification"))
    if target in columns:
        raise ArgumentError(
            f"the target {target!r} cannot be predicted by itself; leave it out of the columns"
        )
    cells = read_cells(path)
    for name, role in ((target, "target"), *((own, "column") for own in (*columns, *categories))):
        check_choice(f"{role} of {path}", name, cells.names)
    kept = [name for name in cells.names if name == target or not columns or name in columns]
    if len(kept) < 2:
        raise DataError(f"{path} has no column besides the target {target!r}")
    texts = [*categories, *([target] if task == "classification" else [])]
    frame = frame_of(cells, texts=texts)[kept]
    has_target = pd.Series(frame[target]).notna().to_numpy()
    own = pd.Series(frame[target][has_target])
    if len(own) < FEWEST_ROWS:
        raise DataError(
            f"{path}: there are {len(own)} rows with a target; to fit and to measure takes {FEWEST_ROWS} at "
            "the least"
        )
    found, why = _decide_task(own) if task == "auto" else (task, "as asked for")
    if found == "regression" and not pd.api.types.is_numeric_dtype(own.dtype):
        line, cell = own.index[0], own.iloc[0]
        raise DataError(f"{path} line {line}, column {target!r} is not a number: {cell!r}")
    if found == "classification":
        own = levels_of(own)
        n_classes = own.nunique()
        if n_classes > MOST_DIFFERENT * len(own):
            raise DataError(
                f"{path}: target {target!r} has {n_classes} classes in {len(own)} rows, too many to learn"
            )
    if own.nunique() < 2:
        raise DataError(
            f"{path}: target {target!r} has the same value in every row: there is nothing to predict"
        )
    features = pd.DataFrame(frame.drop(columns=target)[has_target])
    return Labelled(features, own, found, why, int((~has_target).sum()))  # type: ignore[arg-type]


def load(path: str | Path) -> BayesianRegressor | BayesianClassifier:
    """Reads a regressor or classifier that its `save` wrote.

    Raises:
        DataError: naming the file that cannot be read, is damaged, or holds something else.
    """
    settings, _ = load_model(path, KIND)
    own = {"BayesianRegressor": BayesianRegressor, "BayesianClassifier": BayesianClassifier}
    return own[settings["class"]].load(path)


def read_features(path: str | Path, model: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """New rows for a fitted model.

    Returns:
        The columns that the model was fitted to, and the file as it is, as text.

    Raises:
        ArgumentError: if a column is missing, with the nearest name.
        DataError: naming file, line and column of what cannot be used.
    """
    cells = read_cells(path)
    decided = model.decisions_.columns
    for column in decided:
        if column.outputs:
            check_choice(f"column of {path}", column.name, cells.names)
    texts = [column.name for column in decided if column.kind == "category"]
    frame = frame_of(cells, texts=texts)
    return frame.reindex(columns=list(model.feature_names_in_)), frame_of(cells, texts=cells.names)


def frame_of(cells: Cells, *, texts: Collection[str] = ()) -> pd.DataFrame:
    """Cells as a frame of numbers and text; the index names the line of the file.

    Args:
        cells: As they were read.
        texts: Columns that stay text.

    Raises:
        DataError: naming file, line and column of a cell that is no number among numbers.
    """
    own = {}
    for name in cells.names:
        numbers = None if name in texts else cells.numbers(name)
        own[name] = np.array(cells.texts(name), dtype=object) if numbers is None else numbers
    return pd.DataFrame(own, index=pd.Index(cells.lines, name="line"))


def hold_out(labelled: Labelled, *, seed: int) -> Held:
    """Rows in a random order: of fewer than 1,000 a fifth is held out, of more a tenth; so for each class."""
    part = PART_OF_FEW if len(labelled.target) < MANY_ROWS else PART_OF_MANY
    random = np.random.default_rng(seed)
    if labelled.task == "regression":
        groups = [np.arange(len(labelled.target))]
    else:
        places = pd.factorize(labelled.target)[0]
        groups = [np.flatnonzero(places == place) for place in range(places.max() + 1)]
    train, test = [], []
    for group in groups:
        order, n_held = random.permutation(group), int(part * len(group))
        test.append(order[:n_held])
        train.append(order[n_held:])
    found = Held(random.permutation(np.concatenate(train)), random.permutation(np.concatenate(test)))
    if len(found.test) == 0:
        raise DataError("no class has five rows, so that one could be held out to measure by")
    return found


def _decide_task(target: pd.Series) -> tuple[Task, str]:
    if not pd.api.types.is_numeric_dtype(target.dtype):
        return "classification", "its cells are text"
    n_values = target.nunique()
    whole = bool((target == target.round()).all())
    if whole and n_values <= MOST_CLASSES and len(target) >= FEWEST_OF_A_CLASS * n_values:
        return "classification", f"it has {n_values} different whole numbers"
    return "regression", f"it has {n_values} different numbers"
