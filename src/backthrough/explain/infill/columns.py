"""Columns of a row as a network takes and gives them: numbers, and categories written as one-hot groups."""

from collections.abc import Iterable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from backthrough.core import ArgumentError, DataError, PRNGKey, check_integer

LEAST_STD = 0.01  # of a predicted number, standardised: a smaller one lets a density grow without end
Row = Float[Array, "feature"]


class Columns(eqx.Module):
    """What the features of a row are, and their distributions by a network's outputs.

    A unit is what is kept or hidden together: a number, or all features of a group.

    Attributes:
        mean: Of each feature; 0 for those of groups.
        std: Of each feature; 1 for those of groups.
        groups: Features that are categories written as one-hot, by their numbers.
    """

    mean: Float[Array, "feature"]
    std: Float[Array, "feature"]
    groups: tuple[tuple[int, ...], ...] = eqx.field(static=True)

    @classmethod
    def of(cls, rows: Float[np.ndarray, "row feature"], groups: Sequence[Sequence[int]]) -> "Columns":
        """Means and standard deviations of rows.

        Raises:
            ArgumentError: if the groups are not disjoint, or name features that don't exist.
            DataError: naming the row where a group is not one 1 among zeros.
        """
        groups = _checked_groups(groups, rows.shape[1])
        for group in groups:
            own = rows[:, list(group)]
            bad = ~(((own == 0) | (own == 1)).all(1) & (own.sum(1) == 1))
            if bad.any():
                row = int(np.argmax(bad))
                raise DataError(
                    f"features {group} are to be one category as one-hot, but row {row} holds "
                    f"{own[row].tolist()}"
                )
        mean, std = rows.mean(0, dtype=np.float64), rows.std(0, dtype=np.float64)
        grouped = [feature for group in groups for feature in group]
        mean[grouped], std[grouped] = 0.0, 1.0
        std = np.where(std > 0, std, 1.0)
        return cls(jnp.asarray(mean, jnp.float32), jnp.asarray(std, jnp.float32), groups)

    @property
    def numbers(self) -> np.ndarray:
        """Features that are in no group."""
        grouped = {feature for group in self.groups for feature in group}
        return np.array([i for i in range(len(self.mean)) if i not in grouped], dtype=int)

    @property
    def sizes(self) -> dict[int, np.ndarray]:
        """The groups of each size, shape (group, size)."""
        sizes = sorted({len(group) for group in self.groups})
        return {size: np.array([own for own in self.groups if len(own) == size]) for size in sizes}

    @property
    def n_units(self) -> int:
        """Numbers and groups."""
        return len(self.numbers) + len(self.groups)

    @property
    def n_outputs(self) -> int:
        """What a network gives: a mean or logit of each feature, and a spread of each number."""
        return len(self.mean) + len(self.numbers)

    def unit_mask(self, mask: Bool[Array, "feature"]) -> Bool[Array, "unit"]:
        """Which units are kept, all their features."""
        parts = [mask[self.numbers], *(mask[own].all(axis=1) for own in self.sizes.values())]
        return jnp.concatenate(parts)

    def feature_mask(self, units: Bool[Array, "unit"]) -> Bool[Array, "feature"]:
        """The inverse of `unit_mask` for units that are kept or hidden as a whole."""
        mask = jnp.zeros(len(self.mean), bool).at[self.numbers].set(units[: len(self.numbers)])
        start = len(self.numbers)
        for own in self.sizes.values():
            mask = mask.at[own].set(units[start : start + len(own), None])
            start += len(own)
        return mask

    def log_prob(self, outputs: Float[Array, "output"], row: Row) -> Float[Array, "unit"]:
        """Log-probabilities and log-densities of the units of a standardised row."""
        mean, std = self._moments(outputs)
        numbers = jax.scipy.stats.norm.logpdf(row[self.numbers], mean, std)
        parts = [jnp.sum(row[own] * jax.nn.log_softmax(outputs[own]), axis=1) for own in self.sizes.values()]
        return jnp.concatenate([numbers, *parts])

    def draw(self, outputs: Float[Array, "output"], *, key: PRNGKey) -> Row:
        """A standardised row."""
        number_key, group_key = jax.random.split(key)
        mean, std = self._moments(outputs)
        row = jnp.zeros(len(self.mean))
        row = row.at[self.numbers].set(mean + std * jax.random.normal(number_key, mean.shape))
        for size, own in self.sizes.items():
            chosen = jax.random.categorical(jax.random.fold_in(group_key, size), outputs[own])
            row = row.at[own].set(jax.nn.one_hot(chosen, size))
        return row

    def _moments(self, outputs: Float[Array, "output"]) -> tuple[Array, Array]:
        return outputs[self.numbers], LEAST_STD + jax.nn.softplus(outputs[len(self.mean) :])


def last_axis_groups(shape: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """One group for each place of a sequence of one-hot letters, shape (place, letter)."""
    places = np.arange(int(np.prod(shape))).reshape(-1, shape[-1])
    return tuple(tuple(int(i) for i in place) for place in places)


def _checked_groups(groups: Iterable[Iterable[int]], n_features: int) -> tuple[tuple[int, ...], ...]:
    checked = tuple(tuple(check_integer("one_hot", i, minimum=0) for i in group) for group in groups)
    named = [feature for group in checked for feature in group]
    if len(set(named)) < len(named):
        twice = next(feature for feature in named if named.count(feature) > 1)
        raise ArgumentError(f"one_hot names feature {twice} twice; a feature belongs to one category")
    if named and max(named) >= n_features:
        raise ArgumentError(f"one_hot names feature {max(named)}, but there are {n_features}, from 0")
    if any(len(group) < 2 for group in checked):
        raise ArgumentError("a group of one_hot needs two features or more")
    return checked
