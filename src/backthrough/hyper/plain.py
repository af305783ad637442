"""Plain training with given hyperparameters: for refits, and for replaying a schedule."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from backthrough.core import PRNGKey, PyTree, Scalar
from backthrough.hyper.batches import PairedBatches, first_batch
from backthrough.hyper.engines.descent import Rate, descend, optimiser_of
from backthrough.hyper.problem import Problem
from backthrough.train import BatchSource, Run, fit

PART = 0.1  # of the steps, over which losses at the end are averaged


class Plain(NamedTuple):
    """State of plain training, a row for each setting of the hyperparameters.

    Attributes:
        weights: Shape (setting, D).
        optimiser: State of each row's optimiser.
        step: Steps made.
        before: Mean training loss in the last tenth of steps but one, shape (setting,).
        after: In the last tenth.
    """

    weights: Float[Array, "setting weight"]
    optimiser: Any
    step: Int[Array, ""]
    before: Float[Array, " setting"]
    after: Float[Array, " setting"]


def train_plain(
    problem: Problem,
    weights: Float[Array, "setting weight"],
    at: Callable[[Scalar], Float[Array, "setting hyper"]],
    *,
    n_steps: int,
    key: PRNGKey,
    learning_rate: Rate,
    train_batches: BatchSource | None = None,
    run: Run | None = None,
    label: str,
) -> Plain:
    """Trains each row of weights with its own row of coordinates.

    Args:
        problem: What is trained.
        weights: The start.
        at: The coordinates at a part of the steps, from 0 to 1.
        n_steps: Training steps.
        key: For the training loss.
        learning_rate: An Optax optimiser, or the rate of an Adam that falls along half a cosine.
        train_batches: Training batches; all rows see the same.
        run: Where metrics and checkpoints go.
        label: Shown beside the progress bar.
    """
    n_part = max(1, round(PART * n_steps))

    def step(state: Plain, batch: PyTree, *, key: PRNGKey) -> tuple[Plain, dict[str, Scalar]]:
        progress = state.step / n_steps

        def one(w: Array, u: Array, optimiser: Any) -> tuple[Array, Any, Scalar]:
            own = first_batch(batch[0])
            return descend(
                learning_rate,
                lambda w: problem.train_loss(w, u, own, key=key),
                w,
                optimiser,
                progress,
            )

        w, optimiser, losses = jax.vmap(one)(state.weights, at(progress), state.optimiser)
        part = (n_steps - 1 - state.step) // n_part
        before = state.before + jnp.where(part == 1, losses / n_part, 0)
        after = state.after + jnp.where(part == 0, losses / n_part, 0)
        return Plain(w, optimiser, state.step + 1, before, after), {"train loss": losses.mean()}

    zeros = jnp.zeros(len(weights), weights.dtype)
    optimiser = jax.vmap(optimiser_of(learning_rate).init)(weights)
    fitted = fit(
        step,
        Plain(weights, optimiser, jnp.zeros((), jnp.int32), zeros, zeros),
        PairedBatches(train_batches, None, train_steps=1),
        n_steps=n_steps,
        key=key,
        run=run,
        shards=1,
        label=label,
    )
    return fitted.state
