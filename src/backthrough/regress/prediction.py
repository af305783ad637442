"""What is predicted for each row, in the units of the target, and where its uncertainty comes from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from backthrough.core import ArgumentError, check_integer, seed_of
from backthrough.natgrad import GaussianPredictive
from backthrough.regress.network import CHUNK

Numbers = Float[np.ndarray, "..."]


@dataclass(frozen=True)
class TargetPrediction:
    """For each row a mixture of Gaussians, one for each network drawn.

    Numbers for each row have the shape (row,), or (row, output) where the targets were a matrix.

    Attributes:
        means: The networks' outputs for standardised targets.
        scales: Standard deviation of the noise under each, for standardised targets.
        centre: Mean of each target in training.
        spread: Standard deviation of each target in training.
        is_vector: Whether targets have the shape (row,).
    """

    means: Float[np.ndarray, "draw row output"]
    scales: Float[np.ndarray, "draw output"]
    centre: Float[np.ndarray, "output"]
    spread: Float[np.ndarray, "output"]
    is_vector: bool

    def __len__(self) -> int:
        """The number of rows."""
        return self.means.shape[1]

    @property
    def mean(self) -> Numbers:
        """The mean."""
        return self._shaped(self.centre + self.spread * self.means.mean(0, dtype=np.float64))

    @property
    def epistemic_std(self) -> Numbers:
        """The standard deviation that more rows would take away: that over the networks' outputs."""
        return self._shaped(self.spread * self.means.std(0, dtype=np.float64))

    @property
    def aleatoric_std(self) -> Numbers:
        """The standard deviation of the noise, which no more rows would take away."""
        noise = np.sqrt(np.mean(np.square(self.scales, dtype=np.float64), axis=0))
        return self._shaped(np.broadcast_to(self.spread * noise, self.means.shape[1:]).copy())

    @property
    def std(self) -> Numbers:
        """The standard deviation of a new target: of both together."""
        return np.hypot(self.epistemic_std, self.aleatoric_std)

    def log_prob(self, y: Any) -> Float[np.ndarray, "row"]:
        """The log-density of each row's target in nats, in its units; of all its outputs together."""
        return self._by_rows(_log_prob, self._standardised(y)) - np.log(self.spread).sum()

    def cdf(self, y: Any) -> Numbers:
        """The probability that a target is less than `y`."""
        return self._shaped(self._by_rows(_cdf, self._standardised(y)))

    def quantiles(self, levels: Sequence[float]) -> Float[np.ndarray, "level ..."]:
        """What a target lies below with each probability, shape (level, row) or (level, row, output)."""
        for level in levels:
            if not 0 < level < 1:
                raise ArgumentError(f"level must lie between 0 and 1, got {level!r}")
        given = jnp.asarray(levels, jnp.result_type(float))
        found = self._by_rows(lambda own: _quantiles(own, given))
        return self._shaped(self.centre + self.spread * np.swapaxes(found, 0, 1))

    def interval(self, level: float = 0.9) -> tuple[Numbers, Numbers]:
        """The ends of the central interval that holds a target with a probability of `level`."""
        if not 0 < level < 1:
            raise ArgumentError(f"level must lie between 0 and 1, got {level!r}")
        low, high = self.quantiles([0.5 - level / 2, 0.5 + level / 2])
        return low, high

    def sample(self, n_samples: int, *, random_state: Any = None) -> Numbers:
        """Targets, shape (n_samples, row) or (n_samples, row, output)."""
        n_samples = check_integer("n_samples", n_samples, minimum=1)
        random = np.random.default_rng(seed_of(random_state))
        n_draws, n_rows, _ = self.means.shape
        which = random.integers(n_draws, size=(n_samples, n_rows))
        standard = self.means[which, np.arange(n_rows)].astype(np.float64)
        standard += self.scales[which] * random.standard_normal(standard.shape)
        return self._shaped(self.centre + self.spread * standard)

    def _standardised(self, y: Any) -> Float[np.ndarray, "row output"]:
        y = np.asarray(y, np.float64)
        expected = self.means.shape[1:2] if self.is_vector else self.means.shape[1:]
        if y.shape != expected:
            raise ArgumentError(f"the targets must have shape {expected}, got {y.shape}")
        return (y.reshape(self.means.shape[1:]) - self.centre) / self.spread

    def _shaped(self, numbers: Numbers) -> Numbers:
        return numbers[..., 0] if self.is_vector else numbers

    def _by_rows(self, function: Callable[..., Array], *arrays: Numbers) -> Numbers:
        """A function of the predictive, and of arrays with one row for each of it, in chunks of one size."""
        scales, out = jnp.asarray(self.scales), []
        for start in range(0, len(self), CHUNK):
            rows = np.arange(start, start + CHUNK).clip(max=len(self) - 1)
            part = GaussianPredictive(jnp.asarray(self.means[:, rows]), scales)
            found = function(part, *(jnp.asarray(array[rows], part.means.dtype) for array in arrays))
            out.append(np.asarray(found, np.float64)[: len(self) - start])
        return np.concatenate(out)


@dataclass(frozen=True)
class ClassPrediction:
    """For each row the probabilities of the classes, and where its uncertainty comes from.

    Attributes:
        classes: The classes, in the order of the columns.
        log_probabilities: The log of the mean probability over the networks drawn.
        aleatoric: The mean entropy of the networks' own probabilities, nats: what stays.
    """

    classes: np.ndarray
    log_probabilities: Float[np.ndarray, "row class"]
    aleatoric: Float[np.ndarray, "row"]

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.log_probabilities)

    @property
    def probabilities(self) -> Float[np.ndarray, "row class"]:
        """Each row adds up to 1."""
        shares = np.exp(self.log_probabilities)
        return shares / shares.sum(1, keepdims=True)

    @property
    def entropy(self) -> Float[np.ndarray, "row"]:
        """The whole uncertainty, nats."""
        shares = self.probabilities
        return -np.sum(shares * np.log(np.where(shares > 0, shares, 1.0)), axis=1)

    @property
    def epistemic(self) -> Float[np.ndarray, "row"]:
        """What a label would tell about the network, nats: what more rows would take away."""
        return np.maximum(self.entropy - self.aleatoric, 0.0)

    def log_prob(self, y: Any) -> Float[np.ndarray, "row"]:
        """The log-probability of each row's class, nats.

        Raises:
            ArgumentError: naming a class that was not there in training.
        """
        return self.log_probabilities[np.arange(len(self)), self.places(y)]

    def places(self, y: Any) -> np.ndarray:
        """The places of classes among `classes`.

        Raises:
            ArgumentError: naming a class that was not there in training, or for a wrong number of them.
        """
        y = np.asarray(y)
        if y.shape != (len(self),):
            raise ArgumentError(f"there are {len(self)} predictions and classes of shape {y.shape}")
        known = {label: place for place, label in enumerate(self.classes.tolist())}
        strange = [label for label in y.tolist() if label not in known]
        if strange:
            raise ArgumentError(f"class {strange[0]!r} was not there in training")
        return np.array([known[label] for label in y.tolist()])


@eqx.filter_jit
def _log_prob(own: GaussianPredictive, y: Array) -> Array:
    return own.log_prob(y)


@eqx.filter_jit
def _cdf(own: GaussianPredictive, y: Array) -> Array:
    return own.cdf(y)


@eqx.filter_jit
def _quantiles(own: GaussianPredictive, levels: Array) -> Array:
    """For all levels in one program; shape (row, level, output)."""
    return jax.vmap(own.quantile, out_axes=1)(levels)
