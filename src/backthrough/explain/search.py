"""How the region is searched for: windows first, then changes at the border, then learned probabilities."""

from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from backthrough.core import ArgumentError, PRNGKey, Scalar, check_integer, check_positive
from backthrough.estimators import Estimator
from backthrough.explain.learning import learn
from backthrough.explain.local_search import Surroundings, improve
from backthrough.explain.objective import Objective, Question
from backthrough.explain.units import Partition
from backthrough.explain.windows import windows

ALIKE = 0.5  # of their union, from which on two windows are one start
AT_ONCE = 32  # windows
LEAST_REACH = 5.0  # log-odds: a probability of .993


@dataclass(frozen=True)
class Search:
    """How a region is searched for; the defaults were chosen by what finds the least loss on photographs.

    First every window, a box of units, is tried. The best ones that differ are changed at their borders as
    long as that makes them better. Around what they have become, probabilities of all units are learned.

    From independent units at probability 1/2, as in the paper, a good infiller rebuilds what is hidden from
    what is left, and nothing is learned: `PUBLISHED` is that recipe.

    Attributes:
        n_starts: Windows that are improved.
        most_windows: Windows at most; 0: begin with probabilities of 1/2.
        n_rounds: Of changes at the border.
        n_proposals: Changed sets in each round.
        start_logit: Logit of a unit in the set when learning begins; its negative outside.
        n_steps: Of Adam.
        n_samples: Sets drawn in each step.
        learning_rate: Of Adam, on logits; it falls to 0 along a line.
        warm_up: Steps in which the price of the area rises to what it is.
        n_draws: Infills of each set that is tried; None: 4, or 1 where the infiller's draws are all the same.
        bounded: Whether the score counts no further than that of the input itself, or 5 log-odds where that
            is less. Without bounds, as in the paper, a set that exaggerates the class is the better the more
            it does, and pays for area that the class does not need.
        grid: Rows and columns of the parameters, where probabilities of pixels are interpolated from a
            coarser grid; each unit has its own when None.
    """

    n_starts: int = 2
    most_windows: int = 256
    n_rounds: int = 32
    n_proposals: int = 16
    start_logit: float = 3.0
    n_steps: int = 40
    n_samples: int = 8
    learning_rate: float = 0.2
    warm_up: int = 0
    n_draws: int | None = None
    bounded: bool = True
    grid: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Refuses settings that cannot be.

        Raises:
            ArgumentError: naming the setting.
        """
        for name in ("n_starts", "n_steps", "n_samples", "n_proposals"):
            check_integer(name, getattr(self, name), minimum=1)
        if self.n_draws is not None:
            check_integer("n_draws", self.n_draws, minimum=1)
        for name in ("most_windows", "n_rounds", "warm_up"):
            check_integer(name, getattr(self, name), minimum=0)
        check_positive("learning_rate", self.learning_rate)
        if not self.most_windows and self.n_starts > 1:
            raise ArgumentError("without windows there is one start: n_starts=1")

    def n_calls(self, n_windows: int, per_step: int, n_draws: int) -> int:
        """Inputs that the model is called with for one region, but for its certificate."""
        learned = self.n_starts * self.n_steps * per_step
        candidates = self.n_starts * (1 + bool(n_windows)) + 2
        local = self.n_starts * self.n_rounds * (self.n_proposals + 1) * bool(n_windows)
        return (n_windows + learned + candidates + local) * n_draws


PUBLISHED = Search(
    n_starts=1,
    most_windows=0,
    start_logit=0.0,
    n_steps=300,
    n_samples=8,
    learning_rate=0.05,
    warm_up=30,
    bounded=False,
    grid=(56, 56),
)
"""The recipe of Chang et al. 2019, with `Pixels()`, `estimator="concrete"` and `area_cost=50`."""


class Region(NamedTuple):
    """What a search has found.

    Attributes:
        probability: With which each unit is selected, from each start; the best start first.
        selected: The best set of all.
        history: Estimated loss at each step of learning.
        changes: Loss in each round of changes.
    """

    probability: Float[Array, "start unit"]
    selected: Bool[Array, "unit"]
    history: Float[Array, "start step"]
    changes: Float[Array, "start round"]


class Searcher(eqx.Module):
    """A search that knows the units.

    Attributes:
        windows: Sets to begin with.
        surroundings: Of units, for changes at borders.
        estimator: How gradients are estimated.
        search: The settings.
        n_draws: Infills of each set that is tried.
    """

    windows: Bool[Array, "window unit"]
    surroundings: Surroundings
    estimator: Estimator
    search: Search = eqx.field(static=True)
    n_draws: int = eqx.field(static=True)

    @classmethod
    def of(cls, search: Search, partition: Partition, estimator: Estimator, n_draws: int) -> "Searcher":
        """The search on a partition.

        Raises:
            ArgumentError: for a grid of parameters that does not fit the units.
        """
        sets = np.zeros((0, partition.n_units), bool)
        if search.most_windows:
            sets = windows(partition.centres, most=search.most_windows)
            sets = np.concatenate([sets, sets[: -len(sets) % min(AT_ONCE, len(sets))]])  # whole batches
        if search.grid is not None:
            size = partition.canvas.shape
            if len(size) != 2 or partition.n_units != partition.canvas.size:
                raise ArgumentError("a grid of parameters is interpolated to pixels: it needs units=Pixels()")
            if any(own > length for own, length in zip(search.grid, size, strict=True)):
                raise ArgumentError(f"grid {search.grid} is finer than the picture of {size} pixels")
        return cls(jnp.asarray(sets), Surroundings.of(partition), estimator, search, n_draws)

    def reach(self, score: Scalar) -> Scalar:
        """How far scores count, for an input with this score."""
        return jnp.maximum(jnp.abs(score), LEAST_REACH if self.search.bounded else jnp.inf)

    def __call__(self, objective: Objective, question: Question, *, key: PRNGKey) -> Region:
        """The region of one input."""
        search = self.search
        start_key, change_key, learn_key, pick_key = jax.random.split(key, 4)
        n_starts, candidates = search.n_starts, []
        changes = jnp.zeros((n_starts, 0))
        logits = jnp.full((n_starts, *(search.grid or self.windows.shape[1:])), search.start_logit)
        if len(self.windows):
            starts = self._starts(objective, question, start_key)
            improved = jax.vmap(
                lambda selected, key: improve(
                    objective,
                    question,
                    selected,
                    self.surroundings,
                    n_rounds=search.n_rounds,
                    n_proposals=search.n_proposals,
                    n_draws=self.n_draws,
                    key=key,
                )
            )(starts, jax.random.split(change_key, n_starts))
            candidates, changes = [improved.selected], improved.history
            logits = search.start_logit * (2.0 * improved.selected - 1)
        probability, history = jax.vmap(
            lambda logits, key: learn(
                objective,
                question,
                logits,
                self.estimator,
                spread=self._spread,
                n_steps=search.n_steps,
                n_samples=search.n_samples,
                n_draws=self.n_draws,
                learning_rate=search.learning_rate,
                warm_up=search.warm_up,
                key=key,
            )
        )(logits, jax.random.split(learn_key, n_starts))
        n_units = probability.shape[1]
        nothing, everything = jnp.zeros((1, n_units), bool), jnp.ones((1, n_units), bool)
        sets = jnp.concatenate([probability > 0.5, *candidates, nothing, everything])
        losses = objective.losses(question, sets, key=pick_key, n_draws=self.n_draws)
        own = losses[: n_starts * (1 + len(candidates))].reshape(-1, n_starts)
        order = jnp.argsort(own.min(axis=0))
        return Region(probability[order], sets[jnp.argmin(losses)], history[order], changes[order])

    def _starts(self, objective: Objective, question: Question, key: PRNGKey) -> Bool[Array, "start unit"]:
        """The best windows of which no two are alike."""
        n_draws = self.n_draws
        losses = jax.lax.map(
            lambda own: objective.losses(question, own[None], key=key, n_draws=n_draws)[0],
            self.windows,
            batch_size=min(AT_ONCE, len(self.windows)),
        )
        chosen = []
        for _ in range(self.search.n_starts):
            own = self.windows[jnp.argmin(losses)]
            common = jnp.sum(self.windows & own, axis=1)
            alike = common > ALIKE * jnp.sum(self.windows | own, axis=1)
            losses = jnp.where(alike, jnp.inf, losses)
            chosen.append(own)
        return jnp.stack(chosen)

    def _spread(self, logits: Array) -> Float[Array, "unit"]:
        """What is learned as logits of units: interpolated probabilities, where there is a grid."""
        if self.search.grid is None:
            return logits
        size = self.surroundings.canvas.shape
        p = jax.image.resize(jax.nn.sigmoid(logits), size, "bilinear")
        p = jnp.clip(p, 1e-4, 1 - 1e-4)
        return (jnp.log(p) - jnp.log1p(-p)).reshape(-1)
