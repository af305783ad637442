"""Noisy EK-FAC: the frame of noisy K-FAC with eigenvalues that are right in it (Bae et al. 2018)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from backthrough.natgrad.blocks import Block, Blocks, Layer, Leaves
from backthrough.natgrad.kronecker import Factors, Frame, frame_of, where_due
from backthrough.natgrad.noisy_adam import wide
from backthrough.natgrad.noisy_kfac import Kronecker, averaged
from backthrough.natgrad.rotated import rotate_back
from backthrough.natgrad.taps import Seen
from backthrough.natgrad.transformation import LearningRate, Spectrum, noisy
from backthrough.train import mean_over_shards


def noisy_ekfac(
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
    refresh_every: Any = 50,
) -> optax.GradientTransformationExtraArgs:
    """Noisy EK-FAC: independent in the frame of K-FAC's eigenvectors, with the second moments found there.

    Args:
        blocks: Of the network, from `find_blocks`.
        n_data: Examples in the whole data set, not in a batch.
        learning_rate: A number, or a schedule of the step.
        prior_var: VARIANCE of the weights' Gaussian prior around 0.
        kl_weight: Weight of the KL divergence; 1 for the ELBO.
        damping: Added to the intrinsic damping in the step, not in the posterior.
        momentum: Of the gradient's moving average.
        decay: Of the moving averages of factors and second moments.
        initial: The Fisher information before any example, which counts as one step's.
        refresh_every: Steps between two eigendecompositions, after which second moments start anew from the
            eigenvalues of the factors.

    Returns:
        A transformation whose `update` needs `curvature=` (see `expected_gradient`); `posterior(state,
        params)` reads the posterior from its state.

    Raises:
        ArgumentError: for a setting out of range.
    """
    return noisy(
        EigenKronecker(),
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


class EigenKroneckerState(NamedTuple):
    """What is kept of the Fisher information.

    Attributes:
        factors: A and S of each layer.
        frames: Their eigenvectors and eigenvalues, when last found.
        moments: Second moments R of the gradient in that frame.
        squares: Of each array outside the layers, as noisy Adam keeps them.
    """

    factors: dict[str, Factors]
    frames: dict[str, Frame]
    moments: dict[str, Array]
    squares: dict[str, Array]


class EigenKronecker(NamedTuple):
    """F ~ (Q_A (x) Q_S) diag(R) (Q_A (x) Q_S)^T."""

    def arrange(self, blocks: tuple[Block, ...], leaves: Leaves) -> tuple[Block, ...]:
        """The blocks as they are."""
        return blocks

    def init(self, blocks: tuple[Block, ...], leaves: Leaves, initial: Any) -> EigenKroneckerState:
        """As for K-FAC, with R its eigenvalues."""
        factors, frames, squares = Kronecker(factored=False).init(blocks, leaves, initial)
        moments = {name: frame.values for name, frame in frames.items()}
        return EigenKroneckerState(factors, frames, moments, squares)

    def observe(
        self, kept: EigenKroneckerState, blocks: tuple[Block, ...], seen: Seen, *, rate: Any, refresh: Any
    ) -> EigenKroneckerState:
        """R <- (1 - rate) R + rate E[(Q_A^T a)^2 (Q_S^T g)^2], or anew with the frame."""
        factors, squares = averaged(kept.factors, kept.squares, blocks, seen, rate)
        layers = {block.name: block for block in blocks if isinstance(block, Layer)}
        new = mean_over_shards(
            {name: moments_in(frame, seen, layers[name]) for name, frame in kept.frames.items()}
        )
        moments = {name: (1 - rate) * old + rate * new[name] for name, old in kept.moments.items()}

        def renew() -> tuple[dict[str, Frame], dict[str, Array]]:
            frames = {name: frame_of(own) for name, own in factors.items()}
            return frames, {name: frame.values for name, frame in frames.items()}

        frames, moments = where_due(refresh, renew, (kept.frames, moments))
        return EigenKroneckerState(factors, frames, moments, squares)

    def spectra(
        self, kept: EigenKroneckerState, blocks: tuple[Block, ...], damping: Any
    ) -> dict[str, Spectrum]:
        """R + damping."""
        found = {name: Spectrum(f + damping) for name, f in kept.squares.items()}
        for name, frame in kept.frames.items():
            found[name] = Spectrum(kept.moments[name] + damping, frame.left, frame.right)
        return found


def moments_in(frame: Frame, seen: Seen, layer: Layer) -> Array:
    """The mean over rows of the squared gradient of a layer's matrix, in a frame."""
    if layer.n_uses > 1 or layer.n_places:
        rows = jax.vmap(lambda own: rotate_back(own, frame.left, frame.right))(wide(seen.per_row(layer)))
        return jnp.mean(jnp.square(rows), axis=0)
    inputs = wide(seen.inputs[layer.name]) @ frame.left
    gradients = wide(seen.gradients[layer.name]) @ frame.right
    return jnp.square(inputs).T @ jnp.square(gradients) / len(inputs)
