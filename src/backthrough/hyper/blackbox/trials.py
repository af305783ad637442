"""A trial: plain training with the hyperparameters fixed, compiled once for all trials."""

import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from backthrough.core import PRNGKey, PyTree, Scalar
from backthrough.hyper.batches import PairedBatches, first_batch
from backthrough.hyper.engines.descent import RateOfHyper, descend, is_of_hyper, optimiser_of
from backthrough.hyper.problem import Coordinates, Problem, Weights
from backthrough.train import BatchSource


class Trial(NamedTuple):
    """What a training ended with.

    Attributes:
        weights: w, flat, from the problem's initial weights.
        train_loss: L_T before the last step.
        valid_loss: L_V at the weights.
    """

    weights: Weights
    train_loss: Scalar
    valid_loss: Scalar


class Trials:
    """The program of a trial.

    Args:
        problem: Its validation loss takes no batch.
        trial_steps: Steps of each training.
        learning_rate: Of the weights.
        train_batches: For a training loss with batches; every trial sees the same.

    Attributes:
        seconds_compiling: What making the program took.
    """

    def __init__(
        self,
        problem: Problem,
        trial_steps: int,
        learning_rate: RateOfHyper,
        train_batches: BatchSource | None,
    ):
        batches = PairedBatches(train_batches, None, train_steps=trial_steps)
        inputs = jax.tree_util.tree_map(jnp.asarray, batches.inputs(0))

        def train(u: Coordinates, data: PyTree, inputs: PyTree, key: PRNGKey) -> Trial:
            rate: Any = learning_rate
            if is_of_hyper(rate):
                rate = rate(problem.space.values(u))
            several, _ = batches.fetch(data, inputs)
            train_key, valid_key = jax.random.split(key)

            def body(carry: Any, own: Any) -> tuple[Any, Scalar]:
                index, batch, key = own
                w, state = carry
                w, state, value = descend(
                    rate,
                    lambda w: problem.train_loss(w, u, batch, key=key),
                    w,
                    state,
                    index / trial_steps,
                )
                return (w, state), value

            w = problem.initial_weights
            each = jnp.arange(trial_steps), several, jax.random.split(train_key, trial_steps)
            (w, _), values = jax.lax.scan(body, (w, optimiser_of(rate).init(w)), each)
            return Trial(w, values[-1], problem.valid_loss(w, None, key=valid_key))

        example = problem.space.initial, batches.data, inputs, jax.random.key(0)
        started = time.perf_counter()
        self._program = jax.jit(train).lower(*example).compile()
        self.seconds_compiling = time.perf_counter() - started
        self._data, self._inputs = batches.data, inputs

    def run(self, u: Coordinates, *, key: PRNGKey) -> Trial:
        """The trial at u, finished when this returns."""
        return jax.block_until_ready(self._program(u, self._data, self._inputs, key))


def first_train_batch(train_batches: Any) -> PyTree:
    """The first training batch, None without batches."""
    batches = PairedBatches(train_batches, None, train_steps=1)
    several, _ = batches.fetch(batches.data, batches.inputs(0))
    return None if several is None else first_batch(several)


def finite_or_infinite(value: Any) -> float:
    """The number, infinity in the place of NaN: the worst."""
    number = float(value)
    return number if np.isfinite(number) else np.inf
