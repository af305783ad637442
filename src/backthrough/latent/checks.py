"""What the front doors look at before anything compiles."""

from typing import Any

import jax
import numpy as np

from backthrough.core import ArgumentError, check_finite
from backthrough.latent.protocols import Data, LatentModel
from backthrough.train import n_examples


def check_examples(model: LatentModel, x: Data) -> int:
    """The number of examples in host data that the model has a likelihood for.

    A model may say itself what data it takes, by a method `check_data(x)` that raises.

    Raises:
        ArgumentError: if there are no examples, or arrays differ in their number.
        DataError: if an entry of an array is not finite, or `check_data` refuses it.
    """
    n = n_examples("x", jax.tree_util.tree_map(np.asarray, x))
    own: Any = getattr(model, "check_data", None)
    if own is not None:
        own(x)
    elif len(jax.tree_util.tree_leaves(x)) == 1:  # series with gaps may have NaN where nothing was seen
        jax.tree_util.tree_map(lambda leaf: check_finite("x", np.asarray(leaf)), x)
    return n


def check_inference_mode(**modules: Any) -> None:
    """Refuses networks whose dropout or batch normalisation is as in training.

    Raises:
        ArgumentError: naming the module, the layer and the cure.
    """

    def is_training(node: Any) -> bool:
        return getattr(node, "inference", None) is False and getattr(node, "p", 1) != 0

    for name, module in modules.items():
        for node in jax.tree_util.tree_leaves(module, is_leaf=is_training):
            if is_training(node):
                raise ArgumentError(
                    f"{name} has a {type(node).__name__} in training mode, so every call is one of another "
                    f"network: pass equinox.nn.inference_mode({name})"
                )
