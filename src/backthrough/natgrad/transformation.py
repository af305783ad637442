"""What all noisy natural gradients share: the step, and the state from which the posterior follows.

With F the Fisher information of ONE example, the mean over the data, the natural-gradient step on
E_q[log p(D | w)] - kl_weight KL(q || prior) has in every family the fixed point (Zhang et al. 2018, eq. 8)

    precision of q = (n_data / kl_weight) (F + damping),    damping = kl_weight / (n_data prior_var),

that damping being called intrinsic. A family says how F is kept, and gives it as eigenvalues in a frame
that it has rotated to: the step, which divides by them, and the posterior, whose variances are their
inverses, both follow from that.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer
from jaxtyping import Array, Float

from backthrough.core import ArgumentError, PyTree
from backthrough.natgrad.blocks import Block, Blocks, Layer, Leaf, Leaves, leaves_of, with_leaves
from backthrough.natgrad.rotated import rotate, rotate_back
from backthrough.natgrad.taps import Seen

LearningRate = float | Array | Callable[[Any], Any]


class Curvature(NamedTuple):
    """What `update` needs beside the gradient.

    Attributes:
        seen: Inputs and gradients row by row, of the model's Fisher information.
        weights: The weights at which the gradient was taken, drawn from the posterior: their mean over draws.
    """

    seen: Seen
    weights: PyTree


class Spectrum(NamedTuple):
    """A block's damped Fisher information: eigenvalues in a rotated frame, as `RotatedNormal` has it.

    Attributes:
        values: Eigenvalues, in the shape of the block.
        left: Rotation of rows, or None.
        right: Rotation of columns, or None.
    """

    values: Float[Array, "..."]
    left: Float[Array, "row row"] | None = None
    right: Float[Array, "column column"] | None = None


class Settings(NamedTuple):
    """Numbers that a step needs, as arrays, so that they may change from step to step.

    Attributes:
        n_data: Examples in the whole data set.
        prior_var: Variance of the prior around 0.
        kl_weight: Weight of the KL divergence.
        damping: Extrinsic damping, of the step alone.
        momentum: Of the gradient's moving average.
        decay: Of the moving average of the Fisher information.
        refresh_every: Steps after which a rotated frame is found anew.
    """

    n_data: Any
    prior_var: Any
    kl_weight: Any
    damping: Any
    momentum: Any
    decay: Any
    refresh_every: Any

    @property
    def scale(self) -> Any:
        """lambda / n_data: variance for an eigenvalue of 1."""
        return self.kl_weight / self.n_data

    @property
    def intrinsic(self) -> Any:
        """The intrinsic damping: the prior's precision in units of one example's Fisher information."""
        return self.kl_weight / (self.n_data * self.prior_var)


@runtime_checkable
class Family(Protocol):
    """How the Fisher information is kept; hashable, since it is a static part of the state."""

    def init(self, blocks: tuple[Block, ...], leaves: Leaves, initial: Any) -> PyTree:
        """What is kept before anything was seen: `initial` times the identity."""
        ...

    def arrange(self, blocks: tuple[Block, ...], leaves: Leaves) -> tuple[Block, ...]:
        """The blocks of the posterior."""
        ...

    def observe(
        self,
        kept: PyTree,
        blocks: tuple[Block, ...],
        seen: Seen,
        *,
        rate: Any,
        refresh: Any,
    ) -> PyTree:
        """What is kept after a minibatch, averaged in by `rate`; `refresh` says that frames are due."""
        ...

    def spectra(self, kept: PyTree, blocks: tuple[Block, ...], damping: Any) -> dict[str, Spectrum]:
        """The damped Fisher information of each block."""
        ...


class NoisyState(eqx.Module):
    """State of a noisy natural gradient.

    Attributes:
        count: Steps made.
        momentum: Moving average of the ascent direction, by array.
        kept: The family's.
        settings: Those of the last step.
        family: How the Fisher information is kept.
        blocks: Of the posterior.
    """

    count: Array
    momentum: Leaves
    kept: PyTree
    settings: Settings
    family: Family = eqx.field(static=True)
    blocks: tuple[Block, ...] = eqx.field(static=True)

    def spectra(self, damping: Any) -> dict[str, Spectrum]:
        """The damped Fisher information of each block."""
        return self.family.spectra(self.kept, self.blocks, damping)


def noisy(
    family: Family,
    blocks: Blocks,
    *,
    n_data: Any,
    learning_rate: LearningRate,
    prior_var: Any,
    kl_weight: Any,
    damping: Any,
    momentum: Any,
    decay: Any,
    initial: Any,
    refresh_every: Any = 1,
) -> optax.GradientTransformationExtraArgs:
    """The transformation of a family; `noisy_adam` and its siblings document the arguments."""
    for name, value in (("n_data", n_data), ("prior_var", prior_var), ("kl_weight", kl_weight)):
        _check(name, value, lambda v: v > 0, "above zero")
    for name, value in (("damping", damping), ("initial", initial)):
        _check(name, value, lambda v: v >= 0, "zero or above")
    for name, value in (("momentum", momentum), ("decay", decay)):
        _check(name, value, lambda v: 0 <= v < 1, "at least 0 and less than 1")
    _check("refresh_every", refresh_every, lambda v: v >= 1 and v == int(v), "a whole number from 1")
    if not callable(learning_rate):
        _check("learning_rate", learning_rate, lambda v: v > 0, "above zero")
    if not isinstance(blocks, Blocks):
        raise ArgumentError(f"blocks must come from find_blocks(model, x), got {type(blocks).__name__}")
    given = Settings(n_data, prior_var, kl_weight, damping, momentum, decay, refresh_every)

    def settings() -> Settings:
        arrays = Settings(*(jnp.asarray(value, float) for value in given))
        return arrays._replace(refresh_every=jnp.asarray(refresh_every, int))

    def init(params: PyTree) -> Any:
        leaves = leaves_of(params)
        if not leaves:
            raise ArgumentError("there are no floating-point arrays among the parameters")
        own = family.arrange(_present(blocks, leaves), leaves)
        zeros = {path: jnp.zeros(leaf.shape, _wide(leaf)) for path, leaf in leaves.items()}
        kept = family.init(own, leaves, initial)
        return NoisyState(jnp.zeros((), int), zeros, kept, settings(), family, own)

    def update(
        updates: PyTree,
        state: Any,
        params: PyTree | None = None,
        *,
        curvature: Curvature | None = None,
        **others: Any,
    ) -> tuple[Any, Any]:
        if curvature is None:
            raise ArgumentError(
                "update needs curvature=: what expected_gradient returns, or Curvature(seen, weights)"
            )
        now, count = settings(), state.count + 1
        rate = jnp.maximum(1 - now.decay, 1 / (count + 1))
        refresh = (count == 1) | (count % now.refresh_every == 0)
        kept = family.observe(state.kept, state.blocks, curvature.seen, rate=rate, refresh=refresh)
        gradient, weights = leaves_of(updates), leaves_of(curvature.weights)
        _check_same(state.momentum, gradient)
        ascent = {path: -own - now.intrinsic * weights[path] for path, own in gradient.items()}
        momentum = {
            path: now.momentum * old + (1 - now.momentum) * ascent[path]
            for path, old in state.momentum.items()
        }
        corrected = {path: own / (1 - now.momentum**count) for path, own in momentum.items()}
        new = NoisyState(count, momentum, kept, now, family, state.blocks)
        spectra = new.spectra(now.intrinsic + now.damping)
        length = learning_rate(state.count) if callable(learning_rate) else learning_rate
        steps: dict[str, Array] = {}
        for block in state.blocks:
            steps |= block.scatter(length * _solve(spectra[block.name], block.gather(corrected)))
        return with_leaves(updates, steps), new

    return optax.GradientTransformationExtraArgs(init, update)


def _solve(spectrum: Spectrum, matrix: Array) -> Array:
    """The matrix divided by the block's Fisher information."""
    left, right = spectrum.left, spectrum.right
    return rotate(rotate_back(matrix, left, right) / spectrum.values, left, right)


def _present(blocks: Blocks, leaves: Mapping[str, Array]) -> tuple[Block, ...]:
    """The blocks whose arrays are among the parameters, which may be a part of the network's."""
    found: list[Block] = []
    for layer in blocks.layers:
        there = [path for path in layer.leaves if path in leaves]
        if there and len(there) < len(layer.leaves):
            missing = sorted(set(layer.leaves) - set(there))
            raise ArgumentError(
                f"{there[0]} is among the parameters and {missing[0]} is not: weights and bias of a "
                "layer are one block; give both to the same transformation"
            )
        if there:
            found.append(layer)
    found += [leaf for leaf in blocks.others if leaf.path in leaves]
    shapes = {path: shape for block in found for path, shape in _shapes(block)}
    for path, leaf in leaves.items():
        if shapes.get(path) != leaf.shape:
            raise ArgumentError(
                f"the parameters have {path} of shape {leaf.shape} and the blocks {shapes.get(path)}: they "
                "belong to another network; call find_blocks on this one"
            )
    return tuple(found)


def _shapes(block: Block) -> list[tuple[str, tuple[int, ...]]]:
    if isinstance(block, Leaf):
        return [(block.path, block.shape)]
    assert isinstance(block, Layer)
    return list(zip(block.leaves, (block.weight_shape, block.bias_shape), strict=False))


def _check_same(kept: Leaves, gradient: Leaves) -> None:
    """Refuses gradients of another network than the state's."""
    for path in sorted(kept.keys() | gradient.keys()):
        shapes = [own[path].shape if path in own else None for own in (kept, gradient)]
        if shapes[0] != shapes[1]:
            raise ArgumentError(
                f"{path} has shape {shapes[0]} in the state and {shapes[1]} in the gradient: the state "
                "belongs to another network"
            )


def _check(name: str, value: Any, allowed: Callable[[Any], bool], what: str) -> None:
    """Checks a number that is known; one that is traced, or a schedule's, is not."""
    if isinstance(value, Tracer):
        return
    try:
        number = np.asarray(value, float)
    except (TypeError, ValueError):
        raise ArgumentError(f"{name} must be a number, got {value!r}") from None
    if not (np.isfinite(number).all() and all(allowed(own) for own in number.ravel())):
        raise ArgumentError(f"{name} must be finite and {what}, got {value!r}")


def _wide(leaf: Array) -> Any:
    """The type to compute in: single precision at the least."""
    return jnp.promote_types(leaf.dtype, jnp.float32)
