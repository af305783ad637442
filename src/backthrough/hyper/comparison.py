"""`compare`: engines and black-box searches on one problem, in the same time."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes

from backthrough.core import ArgumentError, PRNGKey, PyTree, Scalar, check_key, check_positive
from backthrough.hyper.blackbox import Search
from backthrough.hyper.blackbox.strategy import acts_through
from backthrough.hyper.blackbox.trials import first_train_batch
from backthrough.hyper.engines import Engine
from backthrough.hyper.engines.descent import Rate, check_rate
from backthrough.hyper.problem import Problem
from backthrough.hyper.timed_run import TimedRun, timed_search, timed_tuning
from backthrough.train import BatchSource, ProgressBar


@dataclass(frozen=True, eq=False)
class Comparison:
    """How several strategies do in the same time; one entry for each.

    Attributes:
        names: What the caller calls them.
        is_search: Whether it is a black-box search.
        valid_loss: L_V of the parameters that it returned; NaN if it diverged, see `notes`.
        test_loss: The test loss of the same parameters; None if there was none.
        counts: Steps, or trials of a search.
        evaluations: Gradients of the training loss, products with its Hessian among them, at most.
        seconds: What it took, without compiling.
        seconds_compiling: What compiling took.
        u: Coordinates of its hyperparameters (see `Real`).
        params: The parameters that it returned.
        curves: Seconds and the validation loss then: of an engine where it stood, of a search its best.
        budget: The seconds that each was to take.
        notes: What a reader must know before trusting it.
    """

    names: tuple[str, ...]
    is_search: tuple[bool, ...]
    valid_loss: Float[np.ndarray, "strategy"]
    test_loss: Float[np.ndarray, "strategy"] | None
    counts: tuple[int, ...]
    evaluations: tuple[int, ...]
    seconds: Float[np.ndarray, "strategy"]
    seconds_compiling: Float[np.ndarray, "strategy"]
    u: Float[np.ndarray, "strategy hyper"]
    params: tuple[PyTree, ...]
    curves: tuple[Float[np.ndarray, "_ 2"], ...]
    budget: float
    notes: tuple[str, ...]

    def table(self) -> pd.DataFrame:
        """One row a strategy, the smallest validation loss first."""
        columns: dict[str, Any] = {"valid loss": self.valid_loss}
        if self.test_loss is not None:
            columns["test loss"] = self.test_loss
        units = ["trials" if own else "steps" for own in self.is_search]
        columns |= {
            "steps or trials": [f"{n:,} {unit}" for n, unit in zip(self.counts, units, strict=True)],
            "gradients": self.evaluations,
            "seconds": self.seconds,
            "seconds compiling": self.seconds_compiling,
        }
        rows = pd.DataFrame(columns, index=pd.Index(self.names, name="strategy"))
        return rows.sort_values("valid loss")

    def plot(self, axes: Axes) -> Axes:
        """Validation loss against seconds; searches, the best until then, are dashed."""
        for name, is_search, curve in zip(self.names, self.is_search, self.curves, strict=True):
            style: dict[str, Any] = {"drawstyle": "steps-post", "linestyle": "--"} if is_search else {}
            axes.plot(*curve.T, label=name, **style)
        axes.set(xlabel="seconds", ylabel="validation loss", yscale="log")
        axes.legend(frameon=False)
        return axes


def compare(
    train_loss: Any,
    valid_loss: Any,
    params: PyTree,
    space: Any,
    *,
    strategies: Any,
    seconds: float,
    key: PRNGKey,
    test_loss: Callable[[PyTree], Scalar] | None = None,
    hyper_rate: Rate = 0.02,
    scale: float = 0.3,
    train_batches: Any = None,
) -> Comparison:
    """Tunes by several strategies, one after the other, each for the same time.

    Compiling is not counted, and reported. A search starts trials as long as there is time. An engine makes
    steps as long as there is time: its rates fall with the clock as they fall in `tune` with the steps, and
    its warm-up is the same part of the whole (a tenth; two thirds for `GlobalHypernet`).

    Args:
        train_loss: As for `tune`.
        valid_loss: `valid_loss(params)`, on all validation data.
        params: Any pytree with weights at their start.
        space: The hyperparameters; for a search each with two bounds.
        strategies: Engines and searches by name.
        seconds: For each.
        key: Random numbers of all. The numbers of steps and trials depend on the clock.
        test_loss: `test_loss(params)` on a third split, which no strategy sees.
        hyper_rate: Of the engines, as for `tune`.
        scale: Of the engines, as for `tune`.
        train_batches: Training batches.

    Raises:
        ArgumentError: for a wrong argument, or a strategy that cannot work here, which is named.

    Examples:
        >>> import jax.numpy as jnp
        >>> from backthrough.hyper import HyperSpace, LocalHypernet, RandomSearch, Real
        >>> x, y = jnp.linspace(-1, 1, 8), jnp.array([-1.3, -0.4, -0.6, 0.2, -0.3, 0.5, 0.4, 1.2])
        >>> found = compare(
        ...     lambda w, hyper: jnp.mean((w * x[::2] - y[::2]) ** 2) + hyper["decay"] * w**2,
        ...     lambda w: jnp.mean((w * x[1::2] - y[1::2]) ** 2),
        ...     jnp.zeros(()),
        ...     HyperSpace(decay=Real(1e-4, 10.0, log=True)),
        ...     strategies={"hypernetwork": LocalHypernet(), "random": RandomSearch(trial_steps=100)},
        ...     seconds=0.2,
        ...     key=jax.random.key(0),
        ... )
        >>> found.table().columns.tolist()
        ['valid loss', 'steps or trials', 'gradients', 'seconds', 'seconds compiling']
    """
    check_key(key)
    seconds = check_positive("seconds", seconds)
    check_rate("hyper_rate", hyper_rate)
    problem = Problem(train_loss, valid_loss, params, space)
    _check_strategies(problem, strategies, train_batches, key=jax.random.fold_in(key, 0))
    runs: list[TimedRun] = []
    with ProgressBar("comparing", len(strategies)) as bar:
        for number, (name, strategy) in enumerate(strategies.items(), start=1):
            own_key = jax.random.fold_in(key, number)
            try:
                if isinstance(strategy, Search):
                    found = timed_search(
                        problem, strategy, seconds=seconds, key=own_key, train_batches=train_batches
                    )
                else:
                    found = timed_tuning(
                        problem,
                        strategy,
                        seconds=seconds,
                        key=own_key,
                        hyper_rate=hyper_rate,
                        scale=scale,
                        train_batches=train_batches,
                    )
            except ArgumentError as error:
                raise ArgumentError(f"{name}: {error}") from None
            runs.append(found)
            bar.update(number)
    judge_key = jax.random.fold_in(key, 0)
    judge = eqx.filter_jit(lambda params: problem.valid_loss(problem.flat(params), None, key=judge_key))
    return Comparison(
        names=tuple(strategies),
        is_search=tuple(isinstance(own, Search) for own in strategies.values()),
        valid_loss=_losses(judge, runs),
        test_loss=None if test_loss is None else _losses(eqx.filter_jit(test_loss), runs),
        counts=tuple(run.n for run in runs),
        evaluations=tuple(run.evaluations for run in runs),
        seconds=np.array([run.seconds for run in runs]),
        seconds_compiling=np.array([run.seconds_compiling for run in runs]),
        u=np.stack([np.asarray(run.u) for run in runs]),
        params=tuple(run.params for run in runs),
        curves=tuple(run.curve for run in runs),
        budget=seconds,
        notes=tuple(
            f"{name}: {note}" for name, run in zip(strategies, runs, strict=True) for note in run.notes
        ),
    )


def _losses(loss: Callable[[PyTree], Scalar], runs: list[TimedRun]) -> Float[np.ndarray, "strategy"]:
    """Of the parameters returned, NaN where the run diverged."""
    return np.array([float(loss(run.params)) if run.is_finite else np.nan for run in runs])


def _check_strategies(
    problem: Problem, strategies: Any, train_batches: BatchSource | None, *, key: PRNGKey
) -> None:
    """Refuses, before the first is run, what one of them cannot do."""
    if not isinstance(strategies, Mapping) or not strategies:
        raise ArgumentError(
            f"strategies must be a mapping such as {{'random': RandomSearch()}}, got {strategies!r}"
        )
    batch, checked = first_train_batch(train_batches), set()
    for name, strategy in strategies.items():
        if isinstance(strategy, type) or not isinstance(strategy, Engine | Search):
            raise ArgumentError(
                f"{name} must be an engine such as LocalHypernet() or a search such as RandomSearch(), got "
                f"{strategy!r}"
            )
        try:
            if isinstance(strategy, Search):
                problem.space.check_bounded("a search")
                path = acts_through(strategy)
            else:
                path = strategy.acts_through
            if path not in checked:
                problem.check(batch, None, key=key, acts_through=path)
                checked.add(path)
        except ArgumentError as error:
            raise ArgumentError(f"{name}: {error}") from None
