"""What draws of weights predict together: mean, both kinds of uncertainty, intervals, likelihood."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from backthrough.core import ArgumentError, PRNGKey, check_integer, log_mean_exp

Z_MOST = 9.0  # standard deviations: no level that a float can hold lies beyond
BISECTIONS = 45


class GaussianPredictive(eqx.Module):
    """A mixture of Gaussians for each row and output, one for each draw of the weights.

    Attributes:
        means: The network's outputs under each draw.
        scales: Standard deviation of the noise under each draw.

    Examples:
        >>> import jax.numpy as jnp
        >>> p = GaussianPredictive(jnp.array([[[0.0]], [[2.0]]]), jnp.ones((2, 1)))
        >>> p.mean, p.epistemic, p.aleatoric
        (Array([[1.]], dtype=float32), Array([[1.]], dtype=float32), Array([[1.]], dtype=float32))
    """

    means: Float[Array, "sample row out"]
    scales: Float[Array, "sample out"]

    @property
    def mean(self) -> Float[Array, "row out"]:
        """The mean."""
        return jnp.mean(self.means, axis=0)

    @property
    def epistemic(self) -> Float[Array, "row out"]:
        """The variance that more data would take away: that of the outputs over draws of the weights."""
        return jnp.var(self.means, axis=0)

    @property
    def aleatoric(self) -> Float[Array, "row out"]:
        """The variance of the noise."""
        return jnp.broadcast_to(jnp.mean(jnp.square(self.scales), axis=0), self.means.shape[1:])

    @property
    def variance(self) -> Float[Array, "row out"]:
        """Epistemic and aleatoric variance together."""
        return self.epistemic + self.aleatoric

    @property
    def std(self) -> Float[Array, "row out"]:
        """The standard deviation of a new target."""
        return jnp.sqrt(self.variance)

    def log_prob(self, y: Float[Array, "row out"]) -> Float[Array, "row"]:
        """log of the mean over draws of p(y), nats: outputs are independent within a draw."""
        self._check(y)
        z = (y - self.means) / self.scales[:, None]
        each = -0.5 * (jnp.square(z) + jnp.log(2 * jnp.pi)) - jnp.log(self.scales)[:, None]
        return log_mean_exp(jnp.sum(each, axis=-1), axis=0)

    def cdf(self, y: Float[Array, "row out"]) -> Float[Array, "row out"]:
        """The probability of less than `y`, for each output."""
        self._check(y)
        return jnp.mean(jax.scipy.special.ndtr((y - self.means) / self.scales[:, None]), axis=0)

    def quantile(self, level: Any) -> Float[Array, "row out"]:
        """What a new target lies below with probability `level`, one number.

        It has first derivatives, not second ones.

        Raises:
            ArgumentError: unless the level lies between 0 and 1.
        """
        _check_level(level)
        z = jnp.clip(jax.scipy.special.ndtri(level), -Z_MOST, Z_MOST)
        ends = self.means + z * self.scales[:, None]  # the mixture's quantile lies between its parts'

        def halve(_: Any, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = bracket
            middle = low + 0.5 * (high - low)
            below = self.cdf(middle) < level
            return jnp.where(below, middle, low), jnp.where(below, high, middle)

        bracket = jax.lax.stop_gradient((jnp.min(ends, axis=0), jnp.max(ends, axis=0)))
        low, high = jax.lax.fori_loop(0, BISECTIONS, halve, bracket)
        found = jax.lax.stop_gradient(low + 0.5 * (high - low))
        cdf = self.cdf(found)
        z = (found - self.means) / self.scales[:, None]
        density = jnp.mean(jnp.exp(-0.5 * jnp.square(z)) / self.scales[:, None], axis=0) / (2 * jnp.pi) ** 0.5
        return _with_derivative(found, cdf, density)

    def interval(self, level: float = 0.9) -> tuple[Float[Array, "row out"], Float[Array, "row out"]]:
        """The ends of the central interval that holds a new target with probability `level`."""
        _check_level(level)
        return self.quantile(0.5 - level / 2), self.quantile(0.5 + level / 2)

    def sample(self, n_samples: int, *, key: PRNGKey) -> Float[Array, "new row out"]:
        """Targets, each by a draw of its own picked at random."""
        n_samples = check_integer("n_samples", n_samples, minimum=1)
        which_key, noise_key = jax.random.split(key)
        n_draws, n_rows, n_outputs = self.means.shape
        which = jax.random.randint(which_key, (n_samples, n_rows), 0, n_draws)
        means = self.means[which, jnp.arange(n_rows)]
        noise = jax.random.normal(noise_key, (n_samples, n_rows, n_outputs), means.dtype)
        return means + self.scales[which] * noise

    def _check(self, y: Array) -> None:
        if y.shape != self.means.shape[1:]:
            raise ArgumentError(f"predictions have shape {self.means.shape[1:]} and targets {y.shape}")


@jax.custom_jvp
def _with_derivative(quantile: Array, cdf: Array, density: Array) -> Array:
    """The quantile, with the derivative of an implicit function: minus the cdf's, divided by the density."""
    return quantile


@_with_derivative.defjvp
def _derivative(primals: tuple[Array, Array, Array], tangents: tuple[Array, Array, Array]) -> Any:
    quantile, _, density = primals
    return quantile, -tangents[1] / density


def _check_level(level: Any) -> None:
    """Refuses a level that is none; one that is traced isn't known."""
    if not isinstance(level, Tracer) and not 0 < level < 1:
        raise ArgumentError(f"level must lie between 0 and 1, got {level!r}")


class ClassPredictive(eqx.Module):
    """Probabilities of classes for each row under each draw of the weights.

    Attributes:
        log_probabilities: Under each draw, nats.
    """

    log_probabilities: Float[Array, "sample row class"]

    @property
    def mean(self) -> Float[Array, "row class"]:
        """The predictive probabilities: the mean of the draws' probabilities, not of their logits."""
        return jnp.mean(jnp.exp(self.log_probabilities), axis=0)

    @property
    def entropy(self) -> Float[Array, "row"]:
        """The whole uncertainty: the entropy of the mean, nats."""
        return jnp.sum(jax.scipy.special.entr(self.mean), axis=-1)

    @property
    def aleatoric(self) -> Float[Array, "row"]:
        """The mean entropy of the draws, nats: what stays however well the weights are known."""
        return jnp.mean(jnp.sum(jax.scipy.special.entr(jnp.exp(self.log_probabilities)), axis=-1), axis=0)

    @property
    def epistemic(self) -> Float[Array, "row"]:
        """The mutual information of class and weights, nats: what more data would take away."""
        return jnp.maximum(self.entropy - self.aleatoric, 0.0)

    def log_prob(self, y: Int[Array, "row"]) -> Float[Array, "row"]:
        """log of the mean probability of each row's class, nats; NaN for what is no class."""
        if y.shape != self.log_probabilities.shape[1:2]:
            raise ArgumentError(
                f"there are {self.log_probabilities.shape[1]} predictions and targets of shape {y.shape}"
            )
        own = jnp.take_along_axis(self.log_probabilities, y[None, :, None], axis=-1)[..., 0]
        is_class = (y >= 0) & (y < self.log_probabilities.shape[-1])
        return jnp.where(is_class, log_mean_exp(own, axis=0), jnp.nan)

    def sample(self, n_samples: int, *, key: PRNGKey) -> Int[Array, "new row"]:
        """Classes drawn from the mean probabilities."""
        n_samples = check_integer("n_samples", n_samples, minimum=1)
        logits = log_mean_exp(self.log_probabilities, axis=0)
        return jax.random.categorical(key, logits, shape=(n_samples, logits.shape[0]))
