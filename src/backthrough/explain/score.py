"""The number that is explained: the log-odds of a class, or the user's own."""

from collections.abc import Callable
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from backthrough.core import Scalar

Outputs = Literal["logits", "probabilities", "sigmoid"]


class Score(eqx.Module):
    """The score of one example: log p(class | x) - log(1 - p(class | x)), or the user's of the outputs.

    Chang et al. 2019 explain these log-odds: they are above 0 where the class has more than half of the
    probability. Of a model with several labels, each of which is there or not (`"sigmoid"`), they are the
    label's own logit, since log s - log(1 - s) of s = sigmoid(a) is a.

    Attributes:
        model: Maps one example to its outputs.
        outputs: What they are: `"logits"` or `"probabilities"` of classes of which an example has one, or
            `"sigmoid"`, a logit for each label apart.
        clip: Probabilities are kept this far from 0 and 1, so that black boxes that are certain have finite
            log-odds.
        custom: Maps the outputs of one example to the score; with it, classes have no meaning.
    """

    model: Callable[[Array], Float[Array, "output"]]
    outputs: Outputs = eqx.field(static=True, default="logits")
    clip: float = eqx.field(static=True, default=1e-6)
    custom: Callable[[Array], Scalar] | None = eqx.field(static=True, default=None)

    def __call__(self, x: Float[Array, "..."], target: Int[Array, ""]) -> Scalar:
        """The score of one example for a class."""
        outputs = self.model(x)
        outputs = outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32))
        if self.custom is not None:
            return jnp.asarray(self.custom(outputs), outputs.dtype).reshape(())
        if self.outputs == "probabilities":
            return log_odds_of_probabilities(outputs, target, self.clip)
        if self.outputs == "sigmoid":
            return outputs[target]
        return log_odds_of_logits(outputs, target)

    @property
    def limit(self) -> float:
        """How far from 0 the score of clipped probabilities can be; infinite where none are clipped."""
        if self.custom is not None or self.outputs != "probabilities":
            return float("inf")
        return float(jnp.log1p(-self.clip) - jnp.log(self.clip))


def log_odds_of_logits(logits: Float[Array, "class"], target: Int[Array, ""]) -> Scalar:
    """The logit of a class less the log-sum-exp of the others; exact near probability 1 too."""
    chosen = jnp.arange(logits.shape[0]) == target
    others = jax.nn.logsumexp(jnp.where(chosen, -jnp.inf, logits))
    return logits[target] - others


def log_odds_of_probabilities(
    probabilities: Float[Array, "class"], target: Int[Array, ""], clip: float
) -> Scalar:
    """The log-odds of a class's probability, kept within [clip, 1 - clip]."""
    p = jnp.clip(probabilities[target], clip, 1 - clip)
    return jnp.log(p) - jnp.log1p(-p)
