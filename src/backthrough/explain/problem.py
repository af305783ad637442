"""What every door of the room is given: a model, a batch of inputs, and the class that is asked about."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from backthrough.core import ArgumentError, Scalar, check_finite
from backthrough.explain.adapt import Bound, adapt
from backthrough.explain.score import Score

CLIP = 1e-6
LOST = 0.01  # of a feature's deviation, by single precision


@dataclass(frozen=True)
class Problem:
    """A model tried on inputs, and what is asked of it.

    Attributes:
        x: The inputs.
        target: The class of each that is asked about; 0 where the score is the caller's.
        score: Of one input for one class.
        bound: The model.
        predicted: The class with the largest output of each input.
    """

    x: Float[Array, "example ..."]
    target: Int[Array, "example"]
    score: Score
    bound: Bound
    predicted: Int[np.ndarray, "example"]


def make_problem(
    model: Any,
    x: Any,
    target: Any,
    *,
    score: Callable[[Array], Scalar] | None = None,
    clip: float = CLIP,
) -> Problem:
    """Tries a model on inputs and checks everything that can be checked before anything compiles.

    Args:
        model: Anything that `adapt` takes.
        x: Inputs with a leading axis, floating-point and finite.
        target: A class for all, one for each, or None for what the model predicts.
        score: Maps the outputs of one input to the number that is explained, in place of log-odds.
        clip: How far probabilities are kept from 0 and 1.

    Raises:
        ArgumentError: for a target out of range, inputs of whole numbers, a model with one output and no
            `score`, or whatever `adapt` refuses.
        DataError: for inputs that are not finite.
    """
    array = as_inputs(_in_order(model, x))
    if not (isinstance(clip, float) and 0 < clip < 0.5):
        raise ArgumentError(f"clip must lie between 0 and 0.5, got {clip!r}")
    bound = adapt(model).bind(array)
    predicted = bound.outputs.argmax(axis=1)
    n_outputs = bound.outputs.shape[1]
    scored = Score(bound.function, bound.kind, clip, score)
    if score is not None:
        if target is not None:
            raise ArgumentError(
                "target has no meaning beside score=, which already is one number: leave it out"
            )
        return Problem(array, jnp.zeros(len(array), int), scored, bound, predicted)
    if n_outputs < 2 and bound.kind != "sigmoid":
        raise ArgumentError(
            "the model has one output, so there are no classes: say what is explained, such as "
            "score=lambda outputs: outputs[0] (a regression), or JaxModel(model, outputs='sigmoid') where it "
            "is the logit of a binary model"
        )
    if target is None:
        return Problem(array, jnp.asarray(predicted), scored, bound, predicted)
    return Problem(array, _targets(target, len(array), n_outputs, bound.classes), scored, bound, predicted)


def _in_order(model: Any, x: Any) -> Any:
    """Inputs with the columns that a model was fitted to, in its order, where both have names."""
    fitted, names = getattr(model, "feature_names_in_", None), getattr(x, "columns", None)
    if fitted is None or names is None or list(names) == list(fitted):
        return x
    if sorted(map(str, names)) != sorted(map(str, fitted)):
        raise ArgumentError(
            f"the columns of x are {', '.join(map(str, names))}, the model was fitted to "
            f"{', '.join(map(str, fitted))}"
        )
    raise ArgumentError(
        "the columns of x are in another order than those that the model was fitted to: give "
        "x[list(model.feature_names_in_)], and fit the infiller to that order"
    )


def as_inputs(x: Any) -> Float[Array, "example ..."]:
    """Inputs as a floating-point array of JAX.

    Raises:
        ArgumentError: if they are whole numbers, or have no leading axis.
        DataError: if one is not finite.
    """
    array = np.asarray(x)
    if array.dtype.kind in "iub":
        raise ArgumentError(
            f"x must be floating-point numbers as the model takes them, got {array.dtype}: x.astype(float), "
            "scaled as in training (bytes of a picture mostly / 255)"
        )
    if array.dtype.kind != "f" and array.dtype not in (jnp.bfloat16, jnp.float16):
        raise ArgumentError(f"x must be an array of real numbers, got {array.dtype}")
    if array.ndim < 2 or not array.size:
        raise ArgumentError(
            f"x must have a leading axis of examples, not empty: x[None] for one; got {array.shape}"
        )
    check_finite("x", array.astype(np.float64))
    single = jnp.asarray(array)
    if array.dtype == np.float64 and single.dtype == np.float32 and single.size:
        lost = np.abs(np.asarray(single, np.float64) - array)
        bad = (lost > LOST * array.std(axis=0)) & (np.ptp(array, axis=0) > 0)
        if bad.any():
            at = tuple(int(i) for i in np.argwhere(bad)[0])
            raise ArgumentError(
                f"x loses digits in single precision: entry {at} is {array[at]!r}, and becomes "
                f"{float(single[at])!r}. Subtract an offset from such numbers, or set JAX_ENABLE_X64=1"
            )
    return single


def _targets(target: Any, n: int, n_outputs: int, classes: tuple[str, ...]) -> Int[Array, "example"]:
    targets = np.asarray(target)
    if targets.dtype.kind not in "iu":
        known = f", by position among {', '.join(classes)}" if classes else ""
        raise ArgumentError(f"target must be whole numbers, 0 to {n_outputs - 1}{known}, got {target!r}")
    if targets.ndim and targets.shape != (n,):
        raise ArgumentError(
            f"target must be one class or one for each of {n} inputs, got shape {targets.shape}"
        )
    bad = (targets < 0) | (targets >= n_outputs)
    if bad.any():
        wrong = targets.reshape(-1)[np.argmax(bad)]
        raise ArgumentError(f"target must be 0 to {n_outputs - 1}, the model's outputs, got {wrong}")
    return jnp.asarray(np.broadcast_to(targets, (n,)).astype(np.int32))
