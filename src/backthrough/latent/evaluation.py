"""Bounds over a whole data set, with memory bounded and progress shown."""

from typing import Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from backthrough.core import PRNGKey, check_integer, check_key, check_unit_interval
from backthrough.latent.protocols import Encoder, LatentModel
from backthrough.train import ProgressBar


@runtime_checkable
class Bound(Protocol):
    """`elbo`, `iwae`, or another bound with their arguments."""

    def __call__(
        self,
        model: LatentModel,
        encoder: Encoder,
        x: Float[Array, "batch *data"],
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
    x: Float[np.ndarray, "example *data"],
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
        x: Examples with entries in [0, 1], on the host.
        key: Typed key; the result does not depend on `batch_size`.
        n_samples: Draws for each example.
        batch_size: Examples at once; memory grows with it.
        label: Shown beside the progress bar.

    Returns:
        One value in nats for each example; their mean estimates the data set's bound.

    Raises:
        DataError: if `x` is empty or an entry is outside [0, 1], naming it.
    """
    check_key(key)
    check_unit_interval("x", x)
    batch_size = min(check_integer("batch_size", batch_size, minimum=1), len(x))
    keys = jax.random.split(key, len(x))

    @eqx.filter_jit
    def values(model: LatentModel, encoder: Encoder, x: Array, keys: Array) -> Array:
        def one(x: Array, key: PRNGKey) -> Array:
            return bound(model, encoder, x[None], key=key, n_samples=n_samples)[0]

        return jax.vmap(one)(x, keys)

    parts = []
    with ProgressBar(label, len(x)) as bar:
        for start in range(0, len(x), batch_size):
            stop = min(start + batch_size, len(x))
            first = max(0, stop - batch_size)  # the last batch overlaps, so that one program serves all
            part = np.asarray(values(model, encoder, jnp.asarray(x[first:stop]), keys[first:stop]))
            parts.append(part[start - first :])
            bar.update(stop)
    return np.concatenate(parts)
