"""A fitted estimator as one file of arrays and settings."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from backthrough.core import DataError
from backthrough.regress.features import Features
from backthrough.train import load_model, save_model

KIND = "regress"


def save_estimator(model: Any, path: str | Path, arrays: Mapping[str, np.ndarray], **settings: Any) -> None:
    """Writes a fitted estimator: its parameters, features and networks, and what is its own.

    A method that is an object is kept by its name only: what is loaded predicts, but to fit again it must be
    given one.
    """
    parameters = model.get_params()
    if not isinstance(parameters["random_state"], int):
        parameters["random_state"] = None
    if not isinstance(parameters["method"], str):
        parameters["method"] = repr(parameters["method"])
    parameters["hidden_sizes"] = [int(size) for size in parameters["hidden_sizes"]]
    parameters["categories"] = [str(name) for name in parameters["categories"]]
    parameters = {
        name: value.item() if isinstance(value, np.generic) else value for name, value in parameters.items()
    }
    names = getattr(model, "feature_names_in_", None)
    weights = {f"weight {index}": array for index, array in enumerate(model.weights_)}
    save_model(
        path,
        KIND,
        settings={
            "class": type(model).__name__,
            "parameters": parameters,
            "columns": None if names is None else [str(name) for name in names],
            "n_columns": int(model.n_features_in_),
            "target": model.target_name_,
            "n_epochs": model.n_epochs_,
            "batch_size": model.batch_size_,
            "features": model.features_.settings(),
            **settings,
        },
        arrays={**model.features_.arrays(), **weights, **arrays},
    )


def load_estimator(cls: type, path: str | Path) -> tuple[Any, dict[str, Any], dict[str, np.ndarray]]:
    """The estimator without what is its own, and the settings and arrays that hold that.

    Raises:
        DataError: naming the file that cannot be read, is damaged, or holds something else.
    """
    settings, arrays = load_model(path, KIND)
    if settings["class"] != cls.__name__:
        raise DataError(f"{path} holds a {settings['class']}, not a {cls.__name__}")
    parameters = settings["parameters"]
    parameters |= {name: tuple(parameters[name]) for name in ("hidden_sizes", "categories")}
    model = cls(**parameters)
    n_weights = sum(name.startswith("weight ") for name in arrays)
    model.weights_ = [arrays[f"weight {index}"] for index in range(n_weights)]
    model.features_ = Features.load(settings["features"], arrays)
    model.n_features_in_ = settings["n_columns"]
    model.target_name_ = settings["target"]
    model.n_epochs_, model.batch_size_ = settings["n_epochs"], settings["batch_size"]
    if settings["columns"] is not None:
        model.feature_names_in_ = np.array(settings["columns"], dtype=object)
    return model, settings, arrays
