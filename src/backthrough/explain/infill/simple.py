"""Infillers that know nothing of what is kept: constants, noise, and other examples."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Shaped

from backthrough.core import ArgumentError, PRNGKey, check_finite
from backthrough.explain.infill.fitted import Seen, training_examples
from backthrough.explain.infill.infiller import Example, Mask, keep, repeat
from backthrough.explain.infill.layout import Channels, check_channels, from_last, to_last


class Constant(eqx.Module):
    """Hidden features get a fixed value, such as the zero of a normalised image.

    Attributes:
        value: A number, or an array that broadcasts to the shape of an example.

    Examples:
        >>> x, mask = jnp.array([1.0, 2.0]), jnp.array([True, False])
        >>> Constant(7.0).sample(x, mask, key=jax.random.key(0), n_samples=1).tolist()
        [[1.0, 7.0]]
    """

    value: Float[Array, "..."]
    conditional: bool = eqx.field(default=False, init=False, static=True)
    leaks: bool = eqx.field(default=False, init=False, static=True)

    def __init__(self, value: ArrayLike):
        self.value = jnp.asarray(check_finite("value", np.asarray(value)), float)

    def sample(self, x: Example, mask: Mask, *, key: PRNGKey, n_samples: int) -> Shaped[Array, "sample ..."]:
        """As `Infiller.sample`; all draws are the same.

        Raises:
            ArgumentError: if the value does not fit the example.
        """
        try:
            value = jnp.broadcast_to(self.value, x.shape)
        except ValueError as error:
            raise ArgumentError(
                f"a value of shape {self.value.shape} does not fit x of shape {x.shape}"
            ) from error
        return keep(x, mask, repeat(value, n_samples))


class Mean(eqx.Module):
    """Hidden features get their mean over examples.

    Attributes:
        mean: Of each feature, the shape of an example.
        seen: What it was fitted to.

    Examples:
        >>> infiller = Mean.fit(np.array([[0.0, 1.0], [2.0, 3.0]]))
        >>> x, mask = jnp.array([9.0, 9.0]), jnp.array([True, False])
        >>> infiller.sample(x, mask, key=jax.random.key(0), n_samples=1).tolist()
        [[9.0, 2.0]]
    """

    mean: Float[Array, "..."]
    seen: Seen
    conditional: bool = eqx.field(default=False, init=False, static=True)
    leaks: bool = eqx.field(default=False, init=False, static=True)

    @classmethod
    def fit(cls, X: Any) -> "Mean":
        """The means of examples along the leading axis."""
        examples = training_examples(X)
        return cls(jnp.asarray(examples.mean(0, dtype=np.float64), float), Seen.of(examples))

    def check(self, x: Shaped[np.ndarray | Array, "example ..."]) -> None:
        """Refuses examples unlike those that it was fitted to."""
        self.seen.check(x)

    def sample(self, x: Example, mask: Mask, *, key: PRNGKey, n_samples: int) -> Shaped[Array, "sample ..."]:
        """As `Infiller.sample`; all draws are the same."""
        return keep(x, mask, repeat(self.mean, n_samples))


class Noise(eqx.Module):
    """One colour for the image, uniform in the range, and normal noise on every pixel; cut off at the range.

    The "random" infill of Chang et al. 2019, in the range [0, 1] with a standard deviation of 0.2.

    Attributes:
        low: Of the range.
        high: Of the range.
        std: Of the noise, as a part of the range.
        channels: Layout of an image; `None` for one without channels, or for an example of any other kind.

    Examples:
        >>> x, mask = jnp.full((4, 4, 3), 5.0), jnp.zeros((4, 4, 3), bool)
        >>> draws = Noise(-1.0, 1.0).sample(x, mask, key=jax.random.key(0), n_samples=2)
        >>> draws.shape, bool(jnp.all(jnp.abs(draws) <= 1))
        ((2, 4, 4, 3), True)
    """

    low: Float[Array, ""]
    high: Float[Array, ""]
    std: Float[Array, ""]
    channels: Channels = eqx.field(static=True)
    conditional: bool = eqx.field(default=False, init=False, static=True)
    leaks: bool = eqx.field(default=False, init=False, static=True)

    def __init__(self, low: float = 0.0, high: float = 1.0, *, std: float = 0.2, channels: Channels = "last"):
        if not (np.isfinite([low, high]).all() and low < high):
            raise ArgumentError(f"low must be less than high, both finite, got {low} and {high}")
        if not (np.isfinite(std) and std >= 0):
            raise ArgumentError(f"std must be finite and not negative, got {std}")
        check_channels(channels)
        self.low, self.high, self.std = (jnp.asarray(value, float) for value in (low, high, std))
        self.channels = channels

    def sample(self, x: Example, mask: Mask, *, key: PRNGKey, n_samples: int) -> Shaped[Array, "sample ..."]:
        """As `Infiller.sample`."""
        colour_key, noise_key = jax.random.split(key)
        n_channels = 1 if self.channels is None else to_last(x, self.channels).shape[-1]
        colour = jax.random.uniform(colour_key, (n_samples, n_channels))
        if self.channels is None:
            colour = colour.reshape(n_samples, *(1 for _ in x.shape))
        else:
            colour = jax.vmap(lambda own: from_last(own[None, None], self.channels))(colour)
        parts = colour + self.std * jax.random.normal(noise_key, (n_samples, *x.shape))
        return keep(x, mask, self.low + (self.high - self.low) * jnp.clip(parts, 0, 1))


class Marginal(eqx.Module):
    """Hidden features get the values that they have in another example, drawn at random.

    By default all of a draw's come from one example, so they fit each other but not what is kept: what SHAP
    calls interventional. With `independent=True` each comes from an example of its own.

    Attributes:
        rows: The examples.
        seen: What it was fitted to.
        independent: Whether each feature is drawn by itself.

    Examples:
        >>> infiller = Marginal.fit(np.array([[0.0, 1.0], [2.0, 3.0]]))
        >>> x, mask = jnp.array([9.0, 9.0]), jnp.zeros(2, bool)
        >>> draws = infiller.sample(x, mask, key=jax.random.key(0), n_samples=8)
        >>> sorted(set(map(tuple, draws.tolist())))
        [(0.0, 1.0), (2.0, 3.0)]
    """

    rows: Float[Array, "example ..."]
    seen: Seen
    independent: bool = eqx.field(static=True)
    conditional: bool = eqx.field(default=False, init=False, static=True)
    leaks: bool = eqx.field(default=False, init=False, static=True)

    @classmethod
    def fit(cls, X: Any, *, independent: bool = False) -> "Marginal":
        """Keeps the examples along the leading axis; give a random part of many."""
        examples = training_examples(X)
        return cls(jnp.asarray(examples, float), Seen.of(examples), independent)

    def check(self, x: Shaped[np.ndarray | Array, "example ..."]) -> None:
        """Refuses examples unlike those that it was fitted to."""
        self.seen.check(x)

    def sample(self, x: Example, mask: Mask, *, key: PRNGKey, n_samples: int) -> Shaped[Array, "sample ..."]:
        """As `Infiller.sample`."""
        n = len(self.rows)
        if not self.independent:
            return keep(x, mask, self.rows[jax.random.randint(key, (n_samples,), 0, n)])
        columns = self.rows.reshape(n, -1)
        chosen = jax.random.randint(key, (n_samples, columns.shape[1]), 0, n)
        drawn = columns[chosen, jnp.arange(columns.shape[1])]
        return keep(x, mask, drawn.reshape(n_samples, *x.shape))
