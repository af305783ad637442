"""The noise of a Gaussian likelihood: known, or learned with the weights."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from backthrough.core import ArgumentError, PRNGKey, Scalar, check_positive


class FixedNoise(eqx.Module):
    """Noise whose standard deviation is known.

    Attributes:
        scale: Standard deviation, one number or one for each output.

    Raises:
        ArgumentError: unless it is finite and above zero.
    """

    scale: float | tuple[float, ...] = eqx.field(static=True)

    def __init__(self, scale: float | tuple[float, ...] = 1.0):
        for own in np.ravel(scale):
            check_positive("scale", own)
        self.scale = tuple(scale) if isinstance(scale, tuple) else float(scale)

    def init(self, n_outputs: int) -> Float[Array, "out"]:
        """The precision of each output."""
        if np.size(self.scale) not in (1, n_outputs):
            raise ArgumentError(
                f"there are {np.size(self.scale)} noise scales and {n_outputs} outputs; give one, or one each"
            )
        return jnp.broadcast_to(jnp.asarray(self.scale) ** -2.0, (n_outputs,))

    def draw(self, state: Float[Array, "out"], n_outputs: int, *, key: PRNGKey) -> Float[Array, "out"]:
        """Always the same."""
        return state

    def learn(
        self, state: Float[Array, "out"], squares: Float[Array, "out"], weight: Any
    ) -> Float[Array, "out"]:
        """It stays what it is."""
        return state

    def kl(self, state: Float[Array, "out"]) -> Scalar:
        """0."""
        return jnp.zeros(())


class GammaPosterior(NamedTuple):
    """q(precision), one for all outputs or one for each.

    Attributes:
        shape: Shape parameters.
        rate: Rate parameters.
    """

    shape: Float[Array, "noise"]
    rate: Float[Array, "noise"]


class GammaNoise(eqx.Module):
    """Noise whose precision has a Gamma prior and is learned with the weights.

    The posterior is a Gamma distribution too, and its update for a minibatch is the natural-gradient step of
    a conjugate model (Hoffman et al. 2013, eq. 17): a step of size 1 on all data is the exact optimum given
    the weights' posterior.

    Attributes:
        shape: Of the prior. The paper's experiments have 6.
        rate: Of the prior, in squared units of the target. The paper's experiments have 6.
        initial: Precision in the mean that learning starts from.
        step_size: Of the minibatch updates, in (0, 1].
        per_output: Whether each output has a noise of its own.

    Raises:
        ArgumentError: unless shape, rate, initial and step_size are above zero and step_size is at most 1.
    """

    shape: float = eqx.field(static=True)
    rate: float = eqx.field(static=True)
    initial: float = eqx.field(static=True)
    step_size: float = eqx.field(static=True)
    per_output: bool = eqx.field(static=True)

    def __init__(
        self,
        shape: float = 1.0,
        rate: float = 0.02,
        *,
        initial: float = 1.0,
        step_size: float = 0.01,
        per_output: bool = False,
    ):
        self.shape = check_positive("shape", shape)
        self.rate = check_positive("rate", rate)
        self.initial = check_positive("initial", initial)
        self.step_size = check_positive("step_size", step_size)
        if step_size > 1:
            raise ArgumentError(f"step_size must be at most 1, got {step_size}")
        self.per_output = per_output

    def init(self, n_outputs: int) -> GammaPosterior:
        """What learning starts from."""
        shape = jnp.full(n_outputs if self.per_output else 1, self.shape)
        return GammaPosterior(shape, shape / self.initial)

    def draw(self, state: GammaPosterior, n_outputs: int, *, key: PRNGKey) -> Float[Array, "out"]:
        """Precisions of the outputs."""
        precision = jax.random.gamma(key, state.shape) / state.rate
        return jnp.broadcast_to(precision, (n_outputs,))

    def learn(self, state: GammaPosterior, squares: Float[Array, "out"], weight: Any) -> GammaPosterior:
        """The posterior after a minibatch.

        Args:
            state: Before it.
            squares: Mean squared error of each output.
            weight: Half the number of examples that the minibatch stands for.
        """
        if not self.per_output:
            squares, weight = jnp.mean(squares)[None], weight * squares.size
        size = self.step_size
        shape, rate = self.shape + weight, self.rate + weight * squares
        return GammaPosterior((1 - size) * state.shape + size * shape, (1 - size) * state.rate + size * rate)

    def kl(self, state: GammaPosterior) -> Scalar:
        """KL divergence of the Gamma posteriors from their prior, nats."""
        shape, rate = state
        log, digamma, log_gamma = jnp.log, jax.scipy.special.digamma, jax.scipy.special.gammaln
        return jnp.sum(
            (shape - self.shape) * digamma(shape)
            - log_gamma(shape)
            + log_gamma(self.shape)
            + self.shape * (log(rate) - log(self.rate))
            + shape * (self.rate / rate - 1)
        )
