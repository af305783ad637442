"""Batches of one step: training steps along the leading axis."""

from typing import Any

import jax

from backthrough.core import PyTree


def first_batch(batches: PyTree) -> Any:
    """The batch of a step that trains once (None without batches)."""
    return jax.tree_util.tree_map(lambda array: array[0], batches)
