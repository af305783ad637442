"""The schedule that a run has found, kept, and replayed as plain training."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from backthrough.core import ArgumentError, DataError, PRNGKey, PyTree, Scalar, check_integer, check_key
from backthrough.core.files import write_atomically
from backthrough.hyper.engines.descent import Rate, check_rate
from backthrough.hyper.plain import train_plain
from backthrough.hyper.problem import Problem
from backthrough.train import BatchSource, Run


@dataclass(frozen=True, eq=False)
class Schedule:
    """Where the hyperparameters were as a run went on.

    Attributes:
        steps: Training steps made, growing from 0.
        coordinates: Coordinates then (see `Real`).
        labels: What the coordinates are called.
    """

    steps: Int[np.ndarray, " kept"]
    coordinates: Float[np.ndarray, "kept hyper"]
    labels: tuple[str, ...]

    def at(self, progress: Any) -> Float[Array, " hyper"]:
        """Coordinates after this part of the steps, from 0 to 1, on straight lines between those kept."""
        position = jnp.clip(progress, 0, 1) * self.steps[-1]
        above = jnp.clip(jnp.searchsorted(jnp.asarray(self.steps), position), 1, len(self.steps) - 1)
        steps, rows = jnp.asarray(self.steps), jnp.asarray(self.coordinates)
        share = (position - steps[above - 1]) / (steps[above] - steps[above - 1])
        return rows[above - 1] + share * (rows[above] - rows[above - 1])

    def save(self, path: str | Path) -> None:
        """Writes an `.npz`."""
        labels = np.array(self.labels)
        write_atomically(
            Path(path),
            lambda file: np.savez(file, steps=self.steps, coordinates=self.coordinates, labels=labels),
        )

    @staticmethod
    def load(path: str | Path) -> "Schedule":
        """Reads what `save` has written.

        Raises:
            DataError: if the file is something else.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                labels = tuple(str(label) for label in arrays["labels"])
                return Schedule(arrays["steps"], arrays["coordinates"], labels)
        except (KeyError, ValueError, OSError) as error:
            raise DataError(f"{path} holds no schedule: {error}") from error


def replay(
    problem: Problem,
    schedule: Schedule,
    *,
    n_steps: int,
    key: PRNGKey,
    learning_rate: Rate = 1e-2,
    train_batches: BatchSource | None = None,
    run: Run | None = None,
) -> PyTree:
    """Trains plain weights from their start, with the hyperparameters along the schedule.

    The schedule is stretched to the number of steps.

    Args:
        problem: With a space of the same coordinates.
        schedule: From `TuneResult.schedule`.
        n_steps: Training steps.
        key: For the training loss.
        learning_rate: An Optax optimiser, or the rate of an Adam that falls along half a cosine.
        train_batches: What `tune` was given.
        run: Where metrics and checkpoints go.

    Returns:
        The trained parameters.

    Raises:
        ArgumentError: if the schedule belongs to another space.
        DivergenceError: as `fit`.
    """
    check_key(key)
    check_rate("learning_rate", learning_rate)
    n_steps = check_integer("n_steps", n_steps, minimum=1)
    if schedule.labels != problem.space.labels():
        raise ArgumentError(
            f"the schedule is of {len(schedule.labels)} coordinates ({schedule.labels[0]}, ...) and the "
            f"problem of {problem.space.size} ({problem.space.labels()[0]}, ...): they must be the same"
        )

    def at(progress: Scalar) -> Float[Array, "setting hyper"]:
        return problem.space.clip(schedule.at(progress).astype(problem.space.initial.dtype))[None]

    state = train_plain(
        problem,
        problem.initial_weights[None],
        at,
        n_steps=n_steps,
        key=key,
        learning_rate=learning_rate,
        train_batches=train_batches,
        run=run,
        label="replaying",
    )
    return problem.params(state.weights[0])
