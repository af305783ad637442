"""What is minimised: the score that a set of units leaves or takes away, and the area that the set costs."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from backthrough.core import PRNGKey, Scalar
from backthrough.explain.infill import Infiller
from backthrough.explain.score import Score


class Question(eqx.Module):
    """One input, and what is asked of it.

    Attributes:
        x: The input.
        target: The class.
        is_sdr: Whether units are to be hidden (the smallest destroying region) or kept (supporting).
        reach: Scores count from its negative to it.
    """

    x: Float[Array, "..."]
    target: Int[Array, ""]
    is_sdr: Bool[Array, ""]
    reach: Scalar


class Objective(eqx.Module):
    """The loss of a set of units of one input (Chang et al. 2019, sec. 3).

    The set is what is kept for the smallest supporting region (SSR): -score + area_cost * area; and what is
    hidden for the smallest destroying region (SDR): +score + area_cost * area. What is hidden is filled in.

    Attributes:
        score: Of an input for its class.
        infiller: Fills in what is hidden.
        labels: The unit of each feature.
        area: Of each unit, 1 together.
        area_cost: Log-odds that the whole area costs.
    """

    score: Score
    infiller: Infiller
    labels: Int[Array, "..."]
    area: Float[Array, "unit"]
    area_cost: Scalar

    def filled(
        self, question: Question, selected: Float[Array, "unit"], *, key: PRNGKey, n_draws: int
    ) -> Float[Array, "draw ..."]:
        """The input with the set kept or hidden, and the rest filled in; for each draw of the infill.

        A set between 0 and 1 blends the input with the infill, through which no derivative goes. An infill
        that depends on the mask is drawn for the set rounded and says nothing of what is kept, so of half
        and more the whole is there: what is kept counts twice up to there.
        """
        x = question.x
        kept = jnp.where(question.is_sdr, 1 - selected, selected)[self.labels].astype(x.dtype)
        if self.infiller.conditional:
            mask = kept >= 0.5
            kept = jnp.minimum(2 * kept, 1)
        else:
            mask = jnp.zeros(x.shape, bool)
        filled = jax.lax.stop_gradient(self.infiller.sample(x, mask, key=key, n_samples=n_draws))
        return jnp.where(kept == 1, x, jnp.where(kept == 0, filled, kept * x + (1 - kept) * filled))

    def scores(
        self, question: Question, selected: Float[Array, "unit"], *, key: PRNGKey, n_draws: int
    ) -> Float[Array, "draw"]:
        """The score of each of these."""
        filled = self.filled(question, selected, key=key, n_draws=n_draws)
        return jax.vmap(self.score, in_axes=(0, None))(filled, question.target)

    def effect(
        self, question: Question, selected: Float[Array, "unit"], *, key: PRNGKey, n_draws: int
    ) -> Scalar:
        """The loss without the price of the area; scores beyond the reach count as the reach."""
        scores = self.scores(question, selected, key=key, n_draws=n_draws)
        mean = jnp.mean(jnp.clip(scores, -question.reach, question.reach))
        return jnp.where(question.is_sdr, mean, -mean)

    def price(self, selected: Float[Array, "unit"]) -> Scalar:
        """The price of the area; that of probabilities is the expected one."""
        return self.area_cost * jnp.sum(self.area * selected)

    def losses(
        self, question: Question, sets: Bool[Array, "set unit"], *, key: PRNGKey, n_draws: int
    ) -> Float[Array, "set"]:
        """The loss of each of several sets, with the same random numbers."""

        def loss(selected: Float[Array, "unit"]) -> Scalar:
            return self.effect(question, selected, key=key, n_draws=n_draws) + self.price(selected)

        return jax.vmap(loss)(sets.astype(self.area.dtype))
