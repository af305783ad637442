"""Bounds over a whole data set, with memory bounded and progress shown."""

from typing import Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Array, Float

from backthrough.core import PRNGKey, check_key
from backthrough.latent.checks import check_examples
from backthrough.latent.protocols import Data, Encoder, LatentModel
from backthrough.train import map_in_chunks


@runtime_checkable
class Bound(Protocol):
    """`elbo`, `iwae`, or another bound with their arguments."""

    def __call__(
        self,
        model: LatentModel,
        encoder: Encoder,
        x: Data,
        *,
        key: PRNGKey,
        n_samples: int,
    ) -> Float[Array, "batch"]:
        """One value in nats for each example."""
        ...


def evaluate_bound(
    bound: Bound,
    model: LatentModel,
    encoder: Encoder,
    x: Data,
    *,
    key: PRNGKey,
    n_samples: int,
    batch_size: int = 100,
    label: str = "evaluating",
) -> Float[np.ndarray, "example"]:
    """`bound` of every example of a data set.

    Args:
        bound: Such as `iwae`.
        model: p(x, z) for one example.
        encoder: Maps one example to q(z | x).
        x: Examples along the leading axis, on the host: an array, or a pytree of arrays.
        key: Typed key; the result does not depend on `batch_size`.
        n_samples: Draws for each example.
        batch_size: Examples at once; memory grows with it.
        label: Shown beside the progress bar.

    Returns:
        One value in nats for each example; their mean estimates the data set's bound.

    Raises:
        ArgumentError: if `x` is empty.
        DataError: if an entry is not finite, or is refused by the model's `check_data`, naming it.
    """
    check_key(key)
    n = check_examples(model, x)
    examples = (x, jax.random.split(key, n))
    return map_in_chunks(
        _values, (bound, n_samples, model, encoder), examples, at_once=batch_size, label=label
    )


def _values(shared: tuple, chunk: tuple) -> Float[Array, "example"]:
    bound, n_samples, model, encoder = shared

    def one(x: Data, key: PRNGKey) -> Array:
        alone = jax.tree_util.tree_map(lambda leaf: leaf[None], x)
        return bound(model, encoder, alone, key=key, n_samples=n_samples)[0]

    return jax.vmap(one)(*chunk)
