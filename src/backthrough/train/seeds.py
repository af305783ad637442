"""Many copies of one training, differing in their seed, in one program."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from backthrough.core import PRNGKey, PyTree, check_integer


class StepOfCopies:
    """What `over_seeds` returns.

    Attributes:
        n_copies: Length of each metric.
    """

    def __init__(self, step: Callable[..., Any], n_copies: int, batch_axis: int | None):
        self.n_copies = n_copies
        self._step = step
        self._batch_axis = batch_axis

    def __call__(self, state: PyTree, batch: PyTree, /, *, key: PRNGKey) -> tuple[PyTree, Any]:
        """One step of every copy."""
        keys = jax.vmap(lambda copy: jax.random.fold_in(key, copy))(jnp.arange(self.n_copies))
        return eqx.filter_vmap(
            lambda state, batch, key: self._step(state, batch, key=key),
            in_axes=(eqx.if_array(0), self._batch_axis, 0),
        )(state, batch, keys)


def over_seeds(step: Callable[..., Any], n_seeds: int, *, own_batches: bool = False) -> StepOfCopies:
    """A step that trains `n_seeds` copies at once; hand it to `fit` in place of `step`.

    Every array of the state has a leading axis of copies: make it with `jax.vmap(initial)(keys)`. Copy i of
    step t gets a key of its own. Metrics become vectors, one entry a copy; rows hold them as lists, and the
    page draws their median and their 10 to 90 % band.

    Args:
        step: `step(state, batch, *, key)` of one copy.
        n_seeds: Copies.
        own_batches: Whether each copy has batches of its own, as `Batches(..., seed=[0, 1, 2])` makes them,
            the copies along the second axis; otherwise all see the same batch.

    Returns:
        `step(state, batch, *, key)` of all copies.

    Raises:
        ArgumentError: if `n_seeds` is below 1.
    """
    n_seeds = check_integer("n_seeds", n_seeds, minimum=1)
    return StepOfCopies(step, n_seeds, 1 if own_batches else None)
