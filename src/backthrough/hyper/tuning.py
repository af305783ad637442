"""`tune`: hyperparameters and weights in one training run."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pandas as pd

from backthrough.core import ArgumentError, PRNGKey, PyTree, Scalar, check_key
from backthrough.hyper.batches import PairedBatches, first_batch
from backthrough.hyper.engines import LocalHypernet
from backthrough.hyper.engines.descent import Rate
from backthrough.hyper.problem import Problem
from backthrough.hyper.result import TuneResult
from backthrough.hyper.tuner import Tuner, TuneState
from backthrough.train import Best, Run, fit

FAR = 20.0  # units of u from the start, without a bound
THIRDS = 40  # looks at the third split in a run
NOTABLE = 1e-3  # of a loss
THIRD = "third loss"


def tune(
    train_loss: Any,
    valid_loss: Any,
    params: PyTree,
    space: Any,
    *,
    engine: Any = None,
    n_steps: int,
    key: PRNGKey,
    hyper_rate: Rate = 0.02,
    warm_up: int | None = None,
    scale: float = 0.3,
    train_batches: Any = None,
    valid_batches: Any = None,
    third_loss: Callable[[PyTree], Scalar] | None = None,
    patience: int | None = None,
    run: Run | None = None,
    label: str = "tuning",
) -> TuneResult:
    """Tunes hyperparameters while training once.

    Args:
        train_loss: L_T, `train_loss(params, hyper)`: with penalties, dropout, augmentation, whatever the
            hyperparameters do. With `train_batches` it gets a batch as third argument; with `key` among its
            arguments, a key.
        valid_loss: L_V, `valid_loss(params)`: on other data, without penalties. With `valid_batches` it gets
            a batch; with `key` among its arguments, a key.
        params: Any pytree with weights at their start.
        space: The hyperparameters.
        engine: How hypergradients are found; `LocalHypernet()` by default.
        n_steps: Steps of the run, each of `engine.train_steps` of training and one of the hyperparameters.
        key: For samples, losses and the start of responses.
        hyper_rate: Of the hyperparameters: the rate of an Adam that falls along half a cosine, in coordinates
            u (see `Real`), or an Optax optimiser.
        warm_up: Steps before the hyperparameters begin to move; a tenth by default, two thirds for
            `GlobalHypernet`.
        scale: Standard deviation of the engine's samples around u, at the start if the engine learns it.
        train_batches: Training batches.
        valid_batches: Validation batches, of other data.
        third_loss: A loss of the parameters on a third split, that neither sees. Then what is returned is
            where that was smallest: many hyperparameters overfit the validation data.
        patience: Looks at the third split (40 in a run) in a row without a new best after which the run ends.
        run: Where metrics and checkpoints go; opened with `resume=True` it goes on, bit for bit.
        label: Shown beside the progress bar.

    Returns:
        Values, parameters, history and schedule. Read `notes` first.

    Raises:
        ArgumentError: for a wrong argument, a hyperparameter that changes nothing, or one that the engine
            cannot see.
        DivergenceError: when a loss, a hypergradient or a state becomes NaN or infinite, naming step and
            quantity.
        Interrupted: after Ctrl-C with a `run`.

    Examples:
        >>> from backthrough.hyper import HyperSpace, Real
        >>> import jax.numpy as jnp
        >>> x, y = jnp.linspace(-1, 1, 8), jnp.array([-1.3, -0.4, -0.6, 0.2, -0.3, 0.5, 0.4, 1.2])
        >>> space = HyperSpace(decay=Real(1e-4, 10.0, log=True))
        >>> found = tune(
        ...     lambda w, hyper: jnp.mean((w * x[::2] - y[::2]) ** 2) + hyper["decay"] * w**2,
        ...     lambda w: jnp.mean((w * x[1::2] - y[1::2]) ** 2),
        ...     jnp.zeros(()),
        ...     space,
        ...     n_steps=500,
        ...     key=jax.random.key(0),
        ... )
        >>> found.table().columns.tolist()
        ['entries', 'smallest', 'median', 'largest', 'at a bound']
    """
    check_key(key)
    problem = Problem(train_loss, valid_loss, params, space)
    tuner = Tuner(
        problem,
        engine or LocalHypernet(),
        n_steps=n_steps,
        hyper_rate=hyper_rate,
        warm_up=warm_up,
        scale=scale,
    )
    batches = PairedBatches(
        train_batches,
        valid_batches,
        train_steps=tuner.engine.train_steps,
        about={"space": repr(space), "engine": type(tuner.engine).__name__},
    )
    if patience is not None and third_loss is None:
        raise ArgumentError("patience counts looks at a third split: give third_loss")
    start_key, check_key_, fit_key = jax.random.split(key, 3)
    first, valid_batch = batches.fetch(batches.data, batches.inputs(0))
    problem.check(first_batch(first), valid_batch, key=check_key_, acts_through=tuner.engine.acts_through)

    @jax.jit
    def on_third(state: TuneState) -> Scalar:
        assert third_loss is not None
        return third_loss(problem.params(tuner.weights(state)))

    def evaluate(state: TuneState, *, key: PRNGKey) -> dict[str, Any]:
        return {THIRD: on_third(state)}

    looks = {}
    if third_loss is not None:
        best = Best(THIRD, larger_is_better=False, patience=patience)
        looks = {"evaluate": evaluate, "evaluate_every": max(1, n_steps // THIRDS), "best": best}
    fitted = fit(
        tuner.step,
        tuner.init(key=start_key),
        batches,
        n_steps=n_steps,
        key=fit_key,
        run=run,
        **looks,
        shards=1,
        label=label,
    )
    history = pd.DataFrame(fitted.metrics)
    if third_loss is not None:
        history = history.groupby("step", as_index=False).first()
    state = fitted.state if fitted.best is None else fitted.best
    step = int(state.step)
    rows = [row for row in fitted.metrics if "valid loss" in row]
    row = max([row for row in rows if row["step"] <= step] or rows[:1], key=lambda row: row["step"])
    return TuneResult(
        hyper=problem.space.values(state.u),
        u=state.u,
        params=problem.params(tuner.weights(state)),
        train_loss=float(row["train loss"]),
        valid_loss=float(row["valid loss"]),
        third_loss=None if third_loss is None else float(on_third(state)),
        step=step,
        history=history,
        notes=_notes(tuner, state, history, batches, fitted.n_steps),
        tuner=tuner,
        state=state,
    )


def _notes(
    tuner: Tuner, state: TuneState, history: pd.DataFrame, batches: PairedBatches, n_steps: int
) -> tuple[str, ...]:
    """What a reader must know before trusting the result."""
    space, notes = tuner.problem.space, []
    if batches.is_same:
        notes.append(
            "training and validation batches are of the same data: hyperparameters tuned so fit the training "
            "data, split them"
        )
    at_bound, moved = np.asarray(space.at_bound(state.u)), np.abs(np.asarray(state.u - space.initial))
    for name, part in space.parts.items():
        if part.of(at_bound).any():
            notes.append(
                f"{part.of(at_bound).sum()} of {part.size} entries of {name} end at a bound, {part.real.low} "
                f"or {part.real.high}: the best may lie beyond it"
            )
        bounded = part.real.low is not None and part.real.high is not None
        if not bounded and (part.of(moved) > FAR).any():
            notes.append(
                f"{(part.of(moved) > FAR).sum()} of {part.size} entries of {name} have drifted more than "
                f"{FAR:g} units: the validation loss hardly depends on them there; give bounds"
            )
        lengths = history[f"hypergradient of {name}"].to_numpy(float)
        if not np.any(lengths > 0):
            notes.append(f"the hypergradient of {name} was 0 throughout: nothing was learned about it")
    if THIRD in history:
        thirds = history.dropna(subset=[THIRD])
        best = thirds[THIRD].idxmin()
        last = thirds.iloc[-1]
        if last[THIRD] > thirds[THIRD][best] + NOTABLE * abs(thirds[THIRD][best]):
            notes.append(
                f"the third split was best after {int(state.step):,} of {n_steps:,} steps and rose from "
                f"{thirds[THIRD][best]:.4g} to {last[THIRD]:.4g} afterwards: the hyperparameters began to "
                "fit the validation data. What is returned is the best"
            )
    return tuple(notes)
