"""How far a learned response is from a refit: whether a result of tuning can be trusted."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float
from matplotlib.axes import Axes

from backthrough.core import ArgumentError, PRNGKey, Scalar, check_integer, check_key
from backthrough.hyper.batches import PairedBatches, first_batch
from backthrough.hyper.engines import CG, Implicit, Place
from backthrough.hyper.engines.descent import Rate, check_rate
from backthrough.hyper.engines.implicit import Trained
from backthrough.hyper.engines.inverses import Inverse
from backthrough.hyper.plain import train_plain
from backthrough.hyper.problem import Weights
from backthrough.hyper.result import TuneResult
from backthrough.train import BatchSource

SMALL = 0.02  # of a refit's loss: what a gap may be to count as small
ALIGNED = 0.9  # cosine
LEFT = 0.05  # of the validation loss: what may be left to gain to first order
SETTLED = 1e-3  # of the training loss: what a refit may still fall in its last tenth


@dataclass(frozen=True, eq=False)
class BestResponseGap:
    """The learned response beside refits, at one or more settings of the hyperparameters.

    Attributes:
        u: Coordinates of each setting, shape (setting, h).
        train: L_T of the learned response.
        train_refit: L_T of the refit, from the learned response onwards.
        valid: L_V of the learned response.
        valid_refit: L_V of the refit.
        still_falling: How much the refit's L_T fell in its last tenth, as a part of it.
        cosine: Of the engine's hypergradient with the implicit one at the refit, at the hyperparameters of
            the result; NaN if either is 0. At an optimum both are noise, and it means nothing.
        left: What the implicit one says that moving each coordinate by one unit would change L_V, to first
            order, as a part of it: near 0 at an optimum.
        residual: Of the implicit one's linear system: large, and neither means much.
    """

    u: Float[np.ndarray, "setting hyper"]
    train: Float[np.ndarray, " setting"]
    train_refit: Float[np.ndarray, " setting"]
    valid: Float[np.ndarray, " setting"]
    valid_refit: Float[np.ndarray, " setting"]
    still_falling: Float[np.ndarray, " setting"]
    cosine: float
    left: float
    residual: float

    @property
    def train_gap(self) -> Float[np.ndarray, " setting"]:
        """L_T(w_phi) - L_T(refit): 0 at best, and not below, or the refit was too short."""
        return self.train - self.train_refit

    @property
    def valid_gap(self) -> Float[np.ndarray, " setting"]:
        """L_V(w_phi) - L_V(refit), of either sign."""
        return self.valid - self.valid_refit

    def table(self) -> pd.DataFrame:
        """A row for each setting; the first is that of the result."""
        return pd.DataFrame(
            {
                "train": self.train,
                "train, refit": self.train_refit,
                "train gap": self.train_gap,
                "valid": self.valid,
                "valid, refit": self.valid_refit,
                "valid gap": self.valid_gap,
            }
        )

    def verdict(self) -> str:
        """Whether to trust the result, in plain words."""
        if self.still_falling[0] > SETTLED:
            return (
                f"Undecided: the refit still falls ({self.still_falling[0]:.1%} of its loss in its last "
                "tenth). Give it more steps."
            )
        off = abs(float(self.valid_gap[0] / self.valid_refit[0]))
        above = float(self.train_gap[0] / abs(self.train_refit[0]))
        words = (
            f"A refit's validation loss is {self.valid_refit[0]:.4g}, the learned response's "
            f"{self.valid[0]:.4g} ({off:.1%} off); its training loss is {above:.1%} above the refit's."
        )
        if off > SMALL:
            return (
                f"Do not trust it: the weights are not the best response. {words} Refit before using them; "
                "to find better hyperparameters train longer, or take a richer response, or Implicit."
            )
        left = (
            f"By the implicit hypergradient {self.left:.1%} of the validation loss are left to gain, to "
            f"first order, by moving each one unit (cosine with the engine's: {self.cosine:.2f})."
        )
        if self.left > LEFT and not self.cosine > ALIGNED:
            return (
                f"Trust the weights, but these are not the best hyperparameters. {words} {left} The engine "
                "does not see that: take a richer response, or Implicit."
            )
        if self.left > LEFT:
            return f"Trust it, and go on: it is not at the optimum yet. {words} {left}"
        return f"Trust it. {words} {left}"

    def plot(self, axes: Axes) -> Axes:
        """Both losses of the learned response against those of the refit, a mark for each setting."""
        for place, (name, own, refit) in enumerate(
            (("training", self.train, self.train_refit), ("validation", self.valid, self.valid_refit))
        ):
            axes.plot(refit, own, "o", color=f"C{place}", label=name)
        both = np.concatenate([self.train_refit, self.valid_refit])
        axes.plot([both.min(), both.max()], [both.min(), both.max()], color="0.5", linewidth=1)
        axes.set_xlabel("loss of the refit")
        axes.set_ylabel("loss of the learned response")
        axes.legend(frameon=False)
        return axes


def best_response_gap(
    found: Any,
    *,
    key: PRNGKey,
    n_steps: int = 2000,
    learning_rate: Rate = 1e-2,
    at: Any = None,
    inverse: Inverse | None = None,
    train_batches: BatchSource | None = None,
    valid_batches: BatchSource | None = None,
) -> BestResponseGap:
    """Refits the weights at the hyperparameters of a result, and compares.

    Args:
        found: From `tune`.
        key: For the losses.
        n_steps: Training steps of each refit, which begins where the learned response is.
        learning_rate: Of the refits: an Optax optimiser, or the rate of an Adam that falls along half a
            cosine.
        at: Coordinates of other settings to refit too, shape (setting, h). Engines that train plain weights
            know those of the result alone.
        inverse: Of the implicit hypergradient; `CG(100)` by default.
        train_batches: What `tune` was given, to refit with; losses are compared on its first batch.
        valid_batches: What `tune` was given.

    Returns:
        Gaps in both losses, and whether the hypergradient points where the implicit one does.

    Raises:
        ArgumentError: for coordinates of another length, or batches that are missing.
    """
    check_key(key)
    check_rate("learning_rate", learning_rate)
    n_steps = check_integer("n_steps", n_steps, minimum=10)
    if not isinstance(found, TuneResult):
        raise ArgumentError(f"best_response_gap takes what tune returns, got {type(found).__name__}")
    tuner, state = found.tuner, found.state
    problem, engine = tuner.problem, tuner.engine
    others = [] if at is None else [problem.space.check_coordinates(u) for u in jnp.asarray(at)]
    us = jnp.stack([state.u, *others])
    batches = PairedBatches(train_batches, valid_batches, train_steps=engine.train_steps)
    stacked, valid_batch = batches.fetch(batches.data, batches.inputs(0))
    batch = first_batch(stacked)
    starts = jnp.stack([engine.weights(problem, state.engine, u, state.u) for u in us])
    plain = train_plain(
        problem,
        starts,
        lambda progress: us,
        n_steps=n_steps,
        key=key,
        learning_rate=learning_rate,
        train_batches=train_batches,
        label="refitting",
    )

    @jax.jit
    def losses(ws: Float[Array, "setting weight"]) -> tuple[Array, Array]:
        train = jax.vmap(lambda w, u: problem.train_loss(w, u, batch, key=key))(ws, us)
        return train, jax.vmap(lambda w: problem.valid_loss(w, valid_batch, key=key))(ws)

    @jax.jit
    def directions(refit: Weights) -> tuple[Array, Array, Scalar]:
        place = Place(state.u, state.log_scale, jnp.ones((), state.u.dtype))
        _, own = engine.hypergradient(problem, state.engine, place, stacked, valid_batch, key=key)
        exactly = inverse or CG(100)
        at_refit = Trained(refit, None, exactly.start(refit))
        _, exact = Implicit(exactly).hypergradient(problem, at_refit, place, stacked, valid_batch, key=key)
        return own.by_u, exact.by_u, exact.metrics["residual"]

    train, valid = map(np.asarray, losses(starts))
    train_refit, valid_refit = map(np.asarray, losses(plain.weights))
    own, exact, residual = map(np.asarray, directions(plain.weights[0]))
    lengths = np.linalg.norm(own) * np.linalg.norm(exact)
    return BestResponseGap(
        np.asarray(us),
        train,
        train_refit,
        valid,
        valid_refit,
        np.asarray((plain.before - plain.after) / jnp.abs(plain.after)),
        float(own @ exact / lengths) if lengths > 0 else float("nan"),
        float(np.abs(exact).sum() / abs(valid_refit[0])),
        float(residual),
    )
