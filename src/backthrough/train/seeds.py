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

    def __init__(
        self, step: Callable[..., Any], n_copies: int, batch_axis: int | None, at_once: int | None = None
    ):
        self.n_copies = n_copies
        self._step = step
        self._batch_axis = batch_axis
        self._at_once = at_once

    def __call__(self, state: PyTree, batch: PyTree, /, *, key: PRNGKey) -> tuple[PyTree, Any]:
        """One step of every copy."""
        keys = jax.vmap(lambda copy: jax.random.fold_in(key, copy))(jnp.arange(self.n_copies))
        if self._at_once is None:
            return eqx.filter_vmap(
                lambda state, batch, key: self._step(state, batch, key=key),
                in_axes=(eqx.if_array(0), self._batch_axis, 0),
            )(state, batch, keys)
        arrays, rest = eqx.partition(state, eqx.is_array)
        axis = self._batch_axis
        own = (
            None if axis is None else jax.tree_util.tree_map(lambda leaf: jnp.moveaxis(leaf, axis, 0), batch)
        )

        def one(copy: tuple[Any, Any, PRNGKey]) -> tuple[Any, Any]:
            arrays, own, key = copy
            new, metrics = self._step(eqx.combine(arrays, rest), batch if own is None else own, key=key)
            return eqx.filter(new, eqx.is_array), metrics

        new, metrics = jax.lax.map(one, (arrays, own, keys), batch_size=self._at_once)
        return eqx.combine(new, rest), metrics


def over_seeds(
    step: Callable[..., Any], n_seeds: int, *, own_batches: bool = False, at_once: int | None = None
) -> StepOfCopies:
    """A step that trains `n_seeds` copies at once; hand it to `fit` in place of `step`.

    Every array of the state has a leading axis of copies: make it with `jax.vmap(initial)(keys)`. Copy i of
    step t gets a key of its own. Metrics become vectors, one entry a copy; rows hold them as lists, and the
    page draws their median and their 10 to 90 % band.

    Args:
        step: `step(state, batch, *, key)` of one copy.
        n_seeds: Copies.
        own_batches: Whether each copy has batches of its own, as `Batches(..., seed=[0, 1, 2])` makes them,
            the copies along the second axis; otherwise all see the same batch.
        at_once: Copies that are computed together, one such group after another; all by default. On a CPU a
            few are faster than many, whose arrays do not fit into its cache.

    Returns:
        `step(state, batch, *, key)` of all copies.

    Raises:
        ArgumentError: if `n_seeds` or `at_once` is below 1.
    """
    n_seeds = check_integer("n_seeds", n_seeds, minimum=1)
    if at_once is not None:
        at_once = check_integer("at_once", at_once, minimum=1)
    return StepOfCopies(step, n_seeds, 1 if own_batches else None, at_once)
