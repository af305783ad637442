"""`search`: hyperparameters by training anew for each setting of them."""

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from backthrough.core import ArgumentError, PRNGKey, PyTree, check_integer, check_key, check_positive
from backthrough.hyper.blackbox.random_search import RandomSearch
from backthrough.hyper.blackbox.result import SearchResult
from backthrough.hyper.blackbox.strategy import Search, acts_through, check_search
from backthrough.hyper.blackbox.trials import Trials, finite_or_infinite, first_train_batch
from backthrough.hyper.problem import Problem
from backthrough.train import BatchSource, ProgressBar


def search(
    train_loss: Any,
    valid_loss: Any,
    params: PyTree,
    space: Any,
    *,
    strategy: Any = None,
    key: PRNGKey,
    n_trials: int | None = None,
    seconds: float | None = None,
    train_batches: Any = None,
) -> SearchResult:
    """Tunes hyperparameters by whole trainings: the plain way, beside which `tune` is to be judged.

    Each trial trains the parameters from their start with the hyperparameters fixed, and its value is the
    validation loss at the end. For few hyperparameters it is as good as any, and it takes every kind.

    Args:
        train_loss: L_T, `train_loss(params, hyper)`, as for `tune`. With `train_batches` it gets a batch as
            third argument; with `key` among its arguments, a key.
        valid_loss: L_V, `valid_loss(params)`, on all validation data; with `key` among its arguments it gets
            a key.
        params: Any pytree with weights at their start.
        space: The hyperparameters, each with two bounds.
        strategy: How settings are chosen; `RandomSearch()` by default.
        key: Determines everything; with `seconds`, all but the number of trials.
        n_trials: Trials at most.
        seconds: Time without compiling, choosing settings included. No trial starts that, going by the one
            before, would end later; the first always does.
        train_batches: Training batches, the same in every trial.

    Returns:
        The best trial. Read `notes` first.

    Raises:
        ArgumentError: for a wrong argument, a hyperparameter without two bounds or one that changes nothing,
            no budget, or if the validation loss of no trial is finite.

    Examples:
        >>> from backthrough.hyper import HyperSpace, Real
        >>> x, y = jnp.linspace(-1, 1, 8), jnp.array([-1.3, -0.4, -0.6, 0.2, -0.3, 0.5, 0.4, 1.2])
        >>> found = search(
        ...     lambda w, hyper: jnp.mean((w * x[::2] - y[::2]) ** 2) + hyper["decay"] * w**2,
        ...     lambda w: jnp.mean((w * x[1::2] - y[1::2]) ** 2),
        ...     jnp.zeros(()),
        ...     HyperSpace(decay=Real(1e-4, 10.0, log=True)),
        ...     n_trials=5,
        ...     key=jax.random.key(0),
        ... )
        >>> found.n_trials, found.valid_loss == min(found.history["valid loss"])
        (5, True)
    """
    check_key(key)
    strategy = check_search(strategy or RandomSearch())
    problem = Problem(train_loss, valid_loss, params, space)
    problem.space.check_bounded("a search")
    check_problem_key, search_key = jax.random.split(key)
    batch = first_train_batch(train_batches)
    problem.check(batch, None, key=check_problem_key, acts_through=acts_through(strategy))
    return run_search(
        problem, strategy, key=search_key, n_trials=n_trials, seconds=seconds, train_batches=train_batches
    )


def run_search(
    problem: Problem,
    strategy: Search,
    *,
    key: PRNGKey,
    n_trials: int | None = None,
    seconds: float | None = None,
    train_batches: BatchSource | None = None,
) -> SearchResult:
    """`search` for a `Problem` that is known to be sound."""
    if n_trials is None and seconds is None:
        raise ArgumentError("a search needs a budget: give n_trials or seconds")
    if n_trials is not None:
        n_trials = check_integer("n_trials", n_trials, minimum=1)
    if seconds is not None:
        seconds = check_positive("seconds", seconds)
    problem.space.check_bounded("a search")
    start_key, trial_key = jax.random.split(key)
    trials = Trials(problem, strategy.trial_steps, strategy.learning_rate, train_batches)
    proposals = strategy.start(problem.space, key=start_key)
    u, best, smallest, rows = problem.space.initial, None, np.inf, []
    started, done, latest = time.perf_counter(), 0.0, 0.0
    with ProgressBar("searching", n_trials or round(seconds or 0)) as bar:
        while n_trials is None or len(rows) < n_trials:
            if seconds is not None and rows and done + latest > seconds:
                break
            asked = jnp.asarray(proposals.ask(), u.dtype)
            trial = trials.run(asked, key=jax.random.fold_in(trial_key, len(rows)))
            value = finite_or_infinite(trial.valid_loss)
            proposals.tell(value)
            if value < smallest:
                smallest, u, best = value, asked, trial
            now = time.perf_counter() - started
            rows.append((len(rows), now, value, smallest))
            latest, done = now - done, now
            bar.update(len(rows) if n_trials else int(done), metrics={"best": smallest})
    history = pd.DataFrame(rows, columns=["trial", "seconds", "valid loss", "best"])
    if best is None:
        raise ArgumentError(
            f"the validation loss of none of {len(rows)} trials is finite: lower the learning rate, or "
            "narrow the bounds"
        )
    return SearchResult(
        hyper=problem.space.values(u),
        u=u,
        params=problem.params(best.weights),
        valid_loss=smallest,
        history=history,
        n_trials=len(rows),
        train_evaluations=len(rows) * strategy.trial_steps,
        seconds_compiling=trials.seconds_compiling,
        notes=_notes(history),
    )


def _notes(history: pd.DataFrame) -> tuple[str, ...]:
    """What a reader must know before trusting the result."""
    n_bad = int(np.isinf(history["valid loss"]).sum())
    if n_bad == 0:
        return ()
    return (f"the loss of {n_bad} of {len(history)} trials was not finite: they are the worst",)
