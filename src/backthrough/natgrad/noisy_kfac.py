"""Noisy K-FAC: a matrix-variate Gaussian for each layer (Zhang et al. 2018, Algorithm 2)."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array

from backthrough.core import check_choice
from backthrough.natgrad.blocks import Block, Blocks, Layer, Leaves
from backthrough.natgrad.kronecker import Factors, Frame, factors_of, frame_of, initial_frame, where_due
from backthrough.natgrad.noisy_adam import mean_squares
from backthrough.natgrad.taps import Seen
from backthrough.natgrad.transformation import LearningRate, Spectrum, noisy
from backthrough.train import mean_over_shards


def noisy_kfac(
    blocks: Blocks,
    *,
    n_data: Any,
    learning_rate: LearningRate = 1e-2,
    prior_var: Any = 1.0,
    kl_weight: Any = 1.0,
    damping: Any = 0.0,
    damping_style: str = "factored",
    momentum: Any = 0.9,
    decay: Any = 0.99,
    initial: Any = 1.0,
    refresh_every: Any = 10,
) -> optax.GradientTransformationExtraArgs:
    """Noisy K-FAC, whose posterior is a matrix-variate Gaussian for each layer.

    Arrays outside the layers have the factorised posterior of noisy Adam (`blocks.table()` names them).

    Args:
        blocks: Of the network, from `find_blocks`.
        n_data: Examples in the whole data set, not in a batch.
        learning_rate: A number, or a schedule of the step.
        prior_var: VARIANCE of the weights' Gaussian prior around 0.
        kl_weight: Weight of the KL divergence; 1 for the ELBO.
        damping: Added to the intrinsic damping in the step, not in the posterior.
        damping_style: "factored", the paper's, adds the root of the damping to each factor, in the ratio of
            their traces: precisions come out too large. "exact" adds the damping to the eigenvalues of their
            product.
        momentum: Of the gradient's moving average.
        decay: Of the moving average of the factors; it is a plain mean while that forgets faster.
        initial: The Fisher information before any example, which counts as one step's.
        refresh_every: Steps between two eigendecompositions.

    Returns:
        A transformation whose `update` needs `curvature=` (see `expected_gradient`); `posterior(state,
        params)` reads the posterior from its state.

    Raises:
        ArgumentError: for a setting out of range.
    """
    check_choice("damping_style", damping_style, ("factored", "exact"))
    return noisy(
        Kronecker(damping_style == "factored"),
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


class KroneckerState(NamedTuple):
    """What is kept of the Fisher information.

    Attributes:
        factors: A and S of each layer.
        frames: Their eigenvectors and eigenvalues, when last found.
        squares: Of each array outside the layers, as noisy Adam keeps them.
    """

    factors: dict[str, Factors]
    frames: dict[str, Frame]
    squares: dict[str, Array]


class Kronecker(NamedTuple):
    """F ~ A (x) S, layer by layer.

    Attributes:
        factored: Whether damping goes into the factors.
    """

    factored: bool

    def arrange(self, blocks: tuple[Block, ...], leaves: Leaves) -> tuple[Block, ...]:
        """The blocks as they are."""
        return blocks

    def init(self, blocks: tuple[Block, ...], leaves: Leaves, initial: Any) -> KroneckerState:
        """A = I, S = initial I."""
        layers = [block for block in blocks if isinstance(block, Layer)]
        frames = {layer.name: initial_frame(layer, initial) for layer in layers}
        factors = {
            name: Factors(jnp.diag(frame.left_values), jnp.diag(frame.right_values))
            for name, frame in frames.items()
        }
        others = [block for block in blocks if not isinstance(block, Layer)]
        squares = {block.name: jnp.full(block.shape, initial, float) for block in others}
        return KroneckerState(factors, frames, squares)

    def observe(
        self, kept: KroneckerState, blocks: tuple[Block, ...], seen: Seen, *, rate: Any, refresh: Any
    ) -> KroneckerState:
        """A <- (1 - rate) A + rate E[a a^T], S <- (1 - rate) S + rate E[g g^T]; frames where they are due."""
        factors, squares = averaged(kept.factors, kept.squares, blocks, seen, rate)
        frames = where_due(
            refresh, lambda: {name: frame_of(own) for name, own in factors.items()}, kept.frames
        )
        return KroneckerState(factors, frames, squares)

    def spectra(self, kept: KroneckerState, blocks: tuple[Block, ...], damping: Any) -> dict[str, Spectrum]:
        """(A + pi sqrt(damping)) (x) (S + sqrt(damping) / pi), or A (x) S + damping."""
        found = {name: Spectrum(f + damping) for name, f in kept.squares.items()}
        for name, frame in kept.frames.items():
            values = factored_damping(frame, damping) if self.factored else frame.values + damping
            found[name] = Spectrum(values, frame.left, frame.right)
        return found


def averaged(
    factors: dict[str, Factors], squares: dict[str, Array], blocks: tuple[Block, ...], seen: Seen, rate: Any
) -> tuple[dict[str, Factors], dict[str, Array]]:
    """Moving averages of factors and squares, with a minibatch in them."""
    new_factors = {block.name: factors_of(seen, block) for block in blocks if isinstance(block, Layer)}
    new_squares = {block.name: mean_squares(seen, block) for block in blocks if not isinstance(block, Layer)}
    new_factors, new_squares = mean_over_shards((new_factors, new_squares))
    factors = {
        name: Factors(
            *((1 - rate) * was + rate * is_now for was, is_now in zip(old, new_factors[name], strict=True))
        )
        for name, old in factors.items()
    }
    squares = {name: (1 - rate) * old + rate * new_squares[name] for name, old in squares.items()}
    return factors, squares


def factored_damping(frame: Frame, damping: Any) -> Array:
    """(e_A + pi sqrt(damping)) (e_S + sqrt(damping) / pi), pi^2 = (tr A / dim A) / (tr S / dim S)."""
    tiny = jnp.finfo(frame.left_values.dtype).tiny
    traces = jnp.mean(frame.left_values), jnp.mean(frame.right_values)
    pi = jnp.sqrt(jnp.maximum(traces[0], tiny) / jnp.maximum(traces[1], tiny))
    root = jnp.sqrt(damping)
    return (frame.left_values + pi * root)[:, None] * (frame.right_values + root / pi)
