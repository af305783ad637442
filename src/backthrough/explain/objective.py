"""What is minimised: the score that a set of units leaves or takes away, and the area that the set costs."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from backthrough.core import PRNGKey, Scalar
from backthrough.explain.infill import Infiller
from backthrough.explain.score import Score


class Objective(eqx.Module):
    """The loss of a set of units of one input (Chang et al. 2019, eqs. 4 and 5).

    The set is what is kept for the smallest supporting region (SSR): -score + area_cost * area; and what is
    hidden for the smallest destroying region (SDR): +score + area_cost * area. Hidden units are filled in.

    Attributes:
        score: Of an input for its class.
        infiller: Fills in what is hidden.
        labels: The unit of each feature.
        area: Of each unit, 1 together.
        area_cost: Log-odds that the whole area costs.
        n_draws: Infills that the score of a set is averaged over.
    """

    score: Score
    infiller: Infiller
    labels: Int[Array, "..."]
    area: Float[Array, "unit"]
    area_cost: Scalar
    n_draws: int = eqx.field(static=True, default=1)

    def kept(self, selected: Float[Array, "unit"], is_sdr: Array) -> Float[Array, "unit"]:
        """What is kept of each unit, 1 or 0 or between."""
        return jnp.where(is_sdr, 1 - selected, selected)

    def scores(
        self, x: Array, target: Array, selected: Float[Array, "unit"], is_sdr: Array, *, key: PRNGKey
    ) -> Float[Array, "draw"]:
        """The score after the set is kept or hidden, for each draw of the infill.

        A set between 0 and 1 blends: what is filled in is drawn for the units rounded, and no derivative goes
        through it.
        """
        kept = self.kept(selected, is_sdr)[self.labels]
        filled = self.fill(x, kept >= 0.5, key=key, n_samples=self.n_draws)
        kept = kept.astype(x.dtype)
        blended = jnp.where(kept == 1, x, jnp.where(kept == 0, filled, kept * x + (1 - kept) * filled))
        return jax.vmap(self.score, in_axes=(0, None))(blended, target)

    def fill(self, x: Array, mask: Array, *, key: PRNGKey, n_samples: int) -> Array:
        """Draws of the input with what is hidden filled in, as constants."""
        filled = self.infiller.sample(x, mask, key=key, n_samples=n_samples)
        return jax.lax.stop_gradient(filled)

    def effect(
        self, x: Array, target: Array, selected: Float[Array, "unit"], is_sdr: Array, *, key: PRNGKey
    ) -> Scalar:
        """The loss without the price of the area."""
        mean = jnp.mean(self.scores(x, target, selected, is_sdr, key=key))
        return jnp.where(is_sdr, mean, -mean)

    def price(self, selected: Float[Array, "unit"]) -> Scalar:
        """The price of the area; of probabilities it is the expected one."""
        return self.area_cost * jnp.sum(self.area * selected)
