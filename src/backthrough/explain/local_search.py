"""A set of units made better by small changes at its border."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from backthrough.core import PRNGKey
from backthrough.explain.objective import Objective, Question
from backthrough.explain.units import Partition

REACH = 1 / 8  # of a side: the half width of the largest change
ANYWHERE = 0.25  # chance that a change is not at the border
TWICE = 0.25  # chance that a change is two changes


class Surroundings(eqx.Module):
    """Where units lie, for changes at borders.

    Attributes:
        canvas: The unit of each place.
        centres: Of each unit, in [0, 1]; no axes where there is no order.
        least: The narrowest distance between places, of the sides.
    """

    canvas: Int[Array, "..."]
    centres: Float[Array, "unit axis"]
    least: float = eqx.field(static=True)

    @classmethod
    def of(cls, partition: Partition) -> "Surroundings":
        """Those of a partition."""
        n_axes = partition.centres.shape[1]
        least = partition.n_units ** (-1 / max(n_axes, 1)) / 2
        return cls(jnp.asarray(partition.canvas), jnp.asarray(partition.centres, jnp.float32), least)

    def border(self, selected: Bool[Array, "unit"]) -> Bool[Array, "place"]:
        """Places whose neighbour is in another state; all of them where there are none, or no order."""
        state = selected[self.canvas]
        border = jnp.zeros(state.shape, bool)
        for axis in range(state.ndim if self.centres.shape[1] else 0):
            differs = jnp.diff(state, axis=axis)
            before, after = [(0, 0)] * state.ndim, [(0, 0)] * state.ndim
            before[axis], after[axis] = (1, 0), (0, 1)
            border = border | jnp.pad(differs, before) | jnp.pad(differs, after)
        flat = border.reshape(-1)
        return flat | ~flat.any()

    def changed(self, selected: Bool[Array, "unit"], *, key: PRNGKey) -> Bool[Array, "unit"]:
        """The set with some units turned over: around a place of its border, mostly, or any few."""
        if not self.centres.shape[1]:
            return self._few_changed(selected, key)
        where_key, place_key, width_key, alone_key = jax.random.split(key, 4)
        allowed = self.border(selected) | jax.random.bernoulli(where_key, ANYWHERE)
        place = jax.random.categorical(place_key, jnp.where(allowed, 0.0, -jnp.inf))
        unit = self.canvas.reshape(-1)[place]
        largest = np.log(max(REACH / self.least, 1.0))
        width = self.least * jnp.exp(jax.random.uniform(width_key) * largest)
        around = (jnp.abs(self.centres - self.centres[unit]) <= width).all(axis=1)
        alone = jnp.arange(len(selected)) == unit
        around = jnp.where(jax.random.bernoulli(alone_key), alone, around | alone)
        return jnp.where(around, ~selected[unit], selected)

    def _few_changed(self, selected: Bool[Array, "unit"], key: PRNGKey) -> Bool[Array, "unit"]:
        """One unit turned over, and each of the others with a chance of 1 / n_units to 1 / 2."""
        unit_key, chance_key, turn_key = jax.random.split(key, 3)
        n_units = len(selected)
        first = jnp.arange(n_units) == jax.random.randint(unit_key, (), 0, n_units)
        lowest = np.log(2 / max(n_units, 2))
        chance = jnp.exp(lowest * jax.random.uniform(chance_key)) / 2
        return selected ^ (first | jax.random.bernoulli(turn_key, chance, (n_units,)))


class Found(NamedTuple):
    """A set and its history.

    Attributes:
        selected: The best set.
        history: Its loss in each round.
    """

    selected: Bool[Array, "unit"]
    history: Float[Array, "round"]


def improve(
    objective: Objective,
    question: Question,
    selected: Bool[Array, "unit"],
    surroundings: Surroundings,
    *,
    n_rounds: int,
    n_proposals: int,
    n_draws: int,
    key: PRNGKey,
) -> Found:
    """In each round the best of some changed sets takes the place of the set, if it is better.

    All sets of a round, the old one among them, are filled in with the same random numbers, and those of
    every round are fresh, so that no set is kept for one lucky draw.
    """

    def change(selected: Array, key: PRNGKey) -> Array:
        *keys, chance_key = jax.random.split(key, 3)

        def again(selected: Array, key: PRNGKey) -> tuple[Array, Array]:
            changed = surroundings.changed(selected, key=key)
            return changed, changed

        twice, (once, _) = jax.lax.scan(again, selected, jnp.stack(keys))
        return jnp.where(jax.random.bernoulli(chance_key, TWICE), twice, once)

    def round_(selected: Array, key: PRNGKey) -> tuple[Array, Array]:
        change_key, infill_key = jax.random.split(key)
        proposals = jax.vmap(lambda own: change(selected, own))(jax.random.split(change_key, n_proposals))
        sets = jnp.concatenate([selected[None], proposals])
        losses = objective.losses(question, sets, key=infill_key, n_draws=n_draws)
        best = jnp.argmin(losses)
        return sets[best], losses[best]

    return Found(*jax.lax.scan(round_, selected, jax.random.split(key, n_rounds)))
