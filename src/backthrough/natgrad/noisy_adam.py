"""Noisy Adam: a factorised posterior (Zhang et al. 2018, Algorithm 1)."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array

from backthrough.natgrad.blocks import Block, Blocks, Layer, Leaves
from backthrough.natgrad.taps import Seen
from backthrough.natgrad.transformation import LearningRate, Spectrum, noisy
from backthrough.train import mean_over_shards


def noisy_adam(
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
) -> optax.GradientTransformationExtraArgs:
    """Noisy Adam, whose posterior is factorised.

    With f the moving average of the mean over examples of SQUARED gradients (not the square of the mean,
    which is biased), mu moves by learning_rate m / (f + damping) and the variances are (kl_weight / n_data) /
    (f + intrinsic damping). There is no square root.

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

    Returns:
        A transformation whose `update` needs `curvature=` (see `expected_gradient`); `posterior(state,
        params)` reads the posterior from its state.

    Raises:
        ArgumentError: for a setting out of range.
    """
    return noisy(
        Diagonal(),
        blocks,
        n_data=n_data,
        learning_rate=learning_rate,
        prior_var=prior_var,
        kl_weight=kl_weight,
        damping=damping,
        momentum=momentum,
        decay=decay,
        initial=initial,
    )


class Diagonal(NamedTuple):
    """The diagonal of the Fisher information, kept by block."""

    def arrange(self, blocks: tuple[Block, ...], leaves: Leaves) -> tuple[Block, ...]:
        """The blocks as they are."""
        return blocks

    def init(self, blocks: tuple[Block, ...], leaves: Leaves, initial: Any) -> dict[str, Array]:
        """f."""
        return {block.name: jnp.full(block.shape, initial, float) for block in blocks}

    def observe(
        self, kept: dict[str, Array], blocks: tuple[Block, ...], seen: Seen, *, rate: Any, refresh: Any
    ) -> dict[str, Array]:
        """f <- (1 - rate) f + rate mean(g^2)."""
        new = mean_over_shards({block.name: mean_squares(seen, block) for block in blocks})
        return {name: (1 - rate) * old + rate * new[name] for name, old in kept.items()}

    def spectra(self, kept: dict[str, Array], blocks: tuple[Block, ...], damping: Any) -> dict[str, Spectrum]:
        """f + damping."""
        return {name: Spectrum(f + damping) for name, f in kept.items()}


def mean_squares(seen: Seen, block: Block) -> Array:
    """The mean over rows of the squared gradient of a block."""
    if not isinstance(block, Layer):
        return jnp.mean(jnp.square(wide(block.gather(seen.arrays))), axis=0)
    if block.n_uses > 1 or block.n_places:
        return jnp.mean(jnp.square(wide(seen.per_row(block))), axis=0)
    inputs, gradients = wide(seen.inputs[block.name]), wide(seen.gradients[block.name])
    return jnp.square(inputs).T @ jnp.square(gradients) / len(inputs)


def wide(array: Array) -> Array:
    """In single precision at the least, in which squares of small gradients stand."""
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))
