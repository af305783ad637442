"""Noisy natural gradient with a full covariance (Zhang et al. 2018, section 3.1), for small networks."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from backthrough.core import ArgumentError
from backthrough.natgrad.blocks import Block, Blocks, Everything, Layer, Leaf, Leaves
from backthrough.natgrad.kronecker import where_due
from backthrough.natgrad.noisy_adam import wide
from backthrough.natgrad.taps import Seen
from backthrough.natgrad.transformation import LearningRate, Spectrum, noisy
from backthrough.train import mean_over_shards

MOST = 5000  # weights: their covariance has 100 MB, an eigendecomposition takes a minute


def noisy_full(
    blocks: Blocks,
    *,
    n_data: Any,
    learning_rate: LearningRate = 1e-2,
    prior_var: Any = 1.0,
    kl_weight: Any = 1.0,
    damping: Any = 0.0,
    momentum: Any = 0.9,
    decay: Any = 0.99,
    initial: Any = 1.0,
    refresh_every: Any = 10,
) -> optax.GradientTransformationExtraArgs:
    """Noisy natural gradient whose posterior is one Gaussian over all weights.

    Args:
        blocks: Of the network, from `find_blocks`.
        n_data: Examples in the whole data set, not in a batch.
        learning_rate: A number, or a schedule of the step.
        prior_var: VARIANCE of the weights' Gaussian prior around 0.
        kl_weight: Weight of the KL divergence; 1 for the ELBO.
        damping: Added to the intrinsic damping in the step, not in the posterior.
        momentum: Of the gradient's moving average.
        decay: Of the moving average of the Fisher information; it is a plain mean while that forgets faster.
        initial: The Fisher information before any example, which counts as one step's.
        refresh_every: Steps between two eigendecompositions.

    Returns:
        A transformation whose `update` needs `curvature=` (see `expected_gradient`); `posterior(state,
        params)` reads the posterior from its state.

    Raises:
        ArgumentError: for a setting out of range, or for more than 5,000 weights.
    """
    return noisy(
        Full(blocks),
        blocks,
        n_data=n_data,
        learning_rate=learning_rate,
        prior_var=prior_var,
        kl_weight=kl_weight,
        damping=damping,
        momentum=momentum,
        decay=decay,
        initial=initial,
        refresh_every=refresh_every,
    )


class FullState(NamedTuple):
    """What is kept of the Fisher information.

    Attributes:
        fisher: F.
        values: Its eigenvalues, when last found.
        vectors: Its eigenvectors, as columns.
    """

    fisher: Float[Array, "weight weight"]
    values: Float[Array, "weight"]
    vectors: Float[Array, "weight weight"]


class Full(NamedTuple):
    """F, dense, over all weights.

    Attributes:
        blocks: In which the gradients of rows are seen.
    """

    blocks: Blocks

    def arrange(self, blocks: tuple[Block, ...], leaves: Leaves) -> tuple[Block, ...]:
        """One block of everything."""
        paths = tuple(path for block in blocks for path in block.leaves)
        row = Everything(paths, tuple(leaves[path].shape for path in paths))
        if row.shape[1] > MOST:
            raise ArgumentError(
                f"a full covariance of {row.shape[1]:,} weights is too large (at most {MOST:,}); use "
                "noisy_kfac"
            )
        return (row,)

    def init(self, blocks: tuple[Block, ...], leaves: Leaves, initial: Any) -> FullState:
        """F = initial I."""
        size = blocks[0].shape[1]
        return FullState(initial * jnp.eye(size), jnp.full(size, initial, float), jnp.eye(size))

    def observe(
        self, kept: FullState, blocks: tuple[Block, ...], seen: Seen, *, rate: Any, refresh: Any
    ) -> FullState:
        """F <- (1 - rate) F + rate E[g g^T]."""
        rows = wide(blocks[0].gather(rows_of(seen, self.blocks)))
        fisher = (1 - rate) * kept.fisher + rate * mean_over_shards(rows.T @ rows / len(rows))
        values, vectors = where_due(refresh, lambda: _eigen(fisher), (kept.values, kept.vectors))
        return FullState(fisher, values, vectors)

    def spectra(self, kept: FullState, blocks: tuple[Block, ...], damping: Any) -> dict[str, Spectrum]:
        """F + damping."""
        return {blocks[0].name: Spectrum(kept.values[None] + damping, right=kept.vectors)}


def rows_of(seen: Seen, blocks: Blocks) -> Leaves:
    """Each row's gradient of every array."""
    found: dict[str, Array] = {}
    for block in (*blocks.layers, *blocks.others):
        found |= _row_leaves(seen, block)
    return found


def _row_leaves(seen: Seen, block: Layer | Leaf) -> Leaves:
    if isinstance(block, Leaf):
        return {block.path: seen.arrays[block.path]}
    return jax.vmap(block.scatter)(seen.per_row(block))


def _eigen(fisher: Array) -> tuple[Array, Array]:
    values, vectors = jnp.linalg.eigh(fisher)
    return jnp.maximum(values, 0), vectors
