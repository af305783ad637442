"""A run of an engine, or a search, that takes a given time."""

import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from backthrough.core import PRNGKey, PyTree
from backthrough.hyper.batches import PairedBatches
from backthrough.hyper.blackbox import Search, run_search
from backthrough.hyper.engines import Engine
from backthrough.hyper.engines.descent import Rate
from backthrough.hyper.evaluations import train_evaluations
from backthrough.hyper.problem import Problem
from backthrough.hyper.tuner import Tuner
from backthrough.train import BatchSource
from backthrough.train.dispatch import Program
from backthrough.train.placement import Placement
from backthrough.train.processes import current_group

TICKS = 1_000_000  # of the clock, in a run
POINTS = 100  # of the curve, at least, where there are as many steps


class TimedRun(NamedTuple):
    """What came out, and what it took.

    Attributes:
        u: Coordinates.
        params: The parameters for them.
        n: Steps, or trials.
        evaluations: Gradients of the training loss.
        seconds: Without compiling.
        seconds_compiling: Before.
        curve: Seconds and the validation loss then: of an engine where it stood, of a search its best.
        is_finite: Whether it came to its end.
        notes: What a reader must know.
    """

    u: Float[Array, " hyper"]
    params: PyTree
    n: int
    evaluations: int
    seconds: float
    seconds_compiling: float
    curve: Float[np.ndarray, "point 2"]
    is_finite: bool
    notes: tuple[str, ...]


def timed_search(
    problem: Problem, strategy: Search, *, seconds: float, key: PRNGKey, train_batches: BatchSource | None
) -> TimedRun:
    """A search for so many seconds."""
    found = run_search(problem, strategy, key=key, seconds=seconds, train_batches=train_batches)
    curve = found.history[["seconds", "best"]].to_numpy(np.float64)
    return TimedRun(
        found.u,
        found.params,
        found.n_trials,
        found.train_evaluations,
        float(curve[-1, 0]),
        found.seconds_compiling,
        curve,
        True,
        found.notes,
    )


def timed_tuning(
    problem: Problem,
    engine: Engine,
    *,
    seconds: float,
    key: PRNGKey,
    hyper_rate: Rate,
    scale: float,
    train_batches: BatchSource | None,
) -> TimedRun:
    """A run of an engine for so many seconds: its rates fall, and its warm-up ends, by the clock."""
    started = time.perf_counter()
    batches = PairedBatches(train_batches, None, train_steps=engine.train_steps)
    start_key, step_key = jax.random.split(key)
    tuner = Tuner(problem, engine, n_steps=TICKS, hyper_rate=hyper_rate, scale=scale)
    placement = Placement.choose(n_shards=1, n_devices=1, group=current_group())
    state = tuner.init(key=start_key)
    program = Program(tuner.step, state, batches, key=step_key, steps_per_dispatch=None, placement=placement)
    arrays: Any = placement.replicate(program.initial)
    for _ in range(2):
        program.advance(arrays, 0, 1)  # compiles, then times a step
    begun = time.perf_counter()
    done, rested, spent, curve, notes = 0, 0, 0.0, [], ()
    while spent < seconds and not notes:
        # The state's own count of steps is where the run stands: it is set to the clock.
        tick = int(TICKS * spent / seconds)
        arrays = arrays._replace(step=jnp.full_like(arrays.step, tick))
        count = int((program.steps_per_second or 0) * seconds / POINTS)
        dispatch = program.advance(arrays, done, max(1, min(count, program.next_count())))
        arrays, done, spent = dispatch.arrays, done + dispatch.n_steps, time.perf_counter() - begun
        if tick < tuner.warm_up:
            rested = done
        if dispatch.n_steps:
            curve.append((spent, dispatch.metrics["valid loss"][-1]))
        if dispatch.trouble is not None:
            trouble = dispatch.trouble
            notes = (f"{trouble.quantity} became {trouble.value} in step {trouble.step}",)
    state = program.read(arrays)
    return TimedRun(
        state.u,
        problem.params(tuner.weights(state)),
        done,
        train_evaluations(engine, problem, n_steps=done, warm_up=rested),
        spent,
        begun - started,
        np.array(curve, np.float64).reshape(-1, 2),
        not notes,
        notes,
    )
