"""Infillers by name, as a command asks for them."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np

from backthrough.core import ArgumentError, PRNGKey, check_choice
from backthrough.explain.infill.autoencoder import MaskedAutoencoder
from backthrough.explain.infill.fitted import training_examples
from backthrough.explain.infill.gaussian import GaussianConditional
from backthrough.explain.infill.simple import Marginal, Mean
from backthrough.explain.infill.storage import Stored
from backthrough.explain.infill.vaeac import VAEAC
from backthrough.train import Run

Method = Literal["unet", "vaeac", "gaussian", "marginal", "mean"]
TRAINED = ("unet", "vaeac")
MOST_GAUSSIAN = 2000  # features: each mask takes a factorisation of so many equations


def fit_infiller(
    X: Any,
    *,
    method: Method,
    key: PRNGKey,
    one_hot: Sequence[Sequence[int]] = (),
    n_steps: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    run: Run | None = None,
) -> Stored:
    """Fits an infiller to rows of a table, or to images with their channels last.

    Args:
        X: Shape (row, column), (image, height, width) or (image, height, width, channel).
        method: `"unet"`, a `MaskedAutoencoder`, of images only; `"vaeac"`, of rows only; `"gaussian"`;
            `"marginal"`; or `"mean"`.
        key: Determines weights, masks and order.
        one_hot: For `"vaeac"`: columns that are one category written as one-hot.
        n_steps: Of training, by default the method's own; so for the next two.
        batch_size: Examples in a batch.
        learning_rate: The largest.
        run: Where metrics and checkpoints go.

    Raises:
        ArgumentError: for a method that does not suit the examples, or has no such option.
    """
    check_choice("method", method, get_args(Method))
    examples = training_examples(X, axes=(2, 3, 4))
    options: dict[str, Any] = {
        name: value
        for name, value in (
            ("n_steps", n_steps),
            ("batch_size", batch_size),
            ("learning_rate", learning_rate),
        )
        if value is not None
    }
    if options and method not in TRAINED:
        raise ArgumentError(f"{method} is not trained step by step: it has no {next(iter(options))}")
    if one_hot and method != "vaeac":
        raise ArgumentError(f"only vaeac draws one-hot columns as one category, {method} does not")
    if method == "unet":
        if examples.ndim == 2:
            raise ArgumentError("unet fills in images; for rows of a table use vaeac or gaussian")
        channels = None if examples.ndim == 3 else "last"
        return MaskedAutoencoder.fit(examples, key=key, channels=channels, run=run, **options)
    if method == "vaeac":
        if examples.ndim > 2:
            raise ArgumentError("vaeac fills in rows; for images use unet")
        return VAEAC.fit(examples, key=key, one_hot=one_hot, run=run, **options)
    if method == "gaussian":
        n_features = int(np.prod(examples.shape[1:]))
        if n_features > MOST_GAUSSIAN:
            raise ArgumentError(
                f"gaussian takes up to {MOST_GAUSSIAN:,} features, these are {n_features:,}: use unet, or "
                "smaller images"
            )
        return GaussianConditional.fit(examples)
    return Marginal.fit(examples) if method == "marginal" else Mean.fit(examples)
