"""`fit`: the one training loop. Compiles a step once, runs many a dispatch, and loses nothing."""

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import numpy as np

from backthrough.core import (
    ArgumentError,
    DivergenceError,
    Interrupted,
    PRNGKey,
    PyTree,
    RunError,
    Scalar,
    check_integer,
    check_key,
)
from backthrough.train.batches import BatchSource
from backthrough.train.best import Best, BestSoFar
from backthrough.train.checkpoints import load_checkpoint, load_newest, manifest_path
from backthrough.train.dispatch import Program, Trouble
from backthrough.train.metrics import WindowMean
from backthrough.train.placement import Placement
from backthrough.train.processes import current_group
from backthrough.train.progress import ProgressBar
from backthrough.train.run import Run, hash_config, read_config
from backthrough.train.run_files import RunFiles
from backthrough.train.stopping import StopRequest

SECONDS_BETWEEN_CHECKPOINTS = 30.0
ROWS_BY_DEFAULT = 1000


@runtime_checkable
class Step(Protocol):
    """One training step: pure, traced once."""

    def __call__(
        self, state: PyTree, batch: PyTree, /, *, key: PRNGKey
    ) -> tuple[PyTree, Mapping[str, Scalar]]:
        """Returns the next state, of the same structure, and a dict of scalar metrics."""
        ...


@runtime_checkable
class Evaluate(Protocol):
    """Numbers about a state, computed between steps."""

    def __call__(self, state: PyTree, /, *, key: PRNGKey) -> Mapping[str, Any]:
        """Returns a dict of scalars."""
        ...


class Fitted(NamedTuple):
    """What `fit` returns.

    Attributes:
        state: The state after the last step.
        metrics: The rows logged, oldest first: `{"step": 10, "loss": 0.3, ...}`. Step metrics are means over
            the `log_every` steps that end at `step`.
        n_steps: Steps made: fewer than asked for if the patience for a better state came to its end.
        best: The best state, if `fit` was asked to keep it.
    """

    state: PyTree
    metrics: list[dict[str, Any]]
    n_steps: int
    best: PyTree = None


def fit(
    step: Step,
    state: PyTree,
    batches: BatchSource,
    *,
    n_steps: int,
    key: PRNGKey,
    run: Run | None = None,
    evaluate: Evaluate | None = None,
    evaluate_every: int | None = None,
    log_every: int | None = None,
    checkpoint_every: int | None = None,
    keep_checkpoints: int = 3,
    best: Best | None = None,
    steps_per_dispatch: int | None = None,
    shards: int | None = None,
    devices: int | None = None,
    label: str = "training",
) -> Fitted:
    """Runs `state, metrics = step(state, batch, key=key)` for `n_steps` steps.

    The step is compiled once; one dispatch runs as many steps as take about a fifth of a second. Batch and
    key of step t depend on t alone, so neither the length of a dispatch nor a stop and resume changes a bit.

    Args:
        step: Pure function of state, batch and `key=`; returns the new state and a dict of scalars.
        state: Any pytree: Equinox modules, optimiser states, arrays, typed keys.
        batches: A `Batches`, a `Stream`, or anything else that is a `BatchSource`.
        n_steps: Steps in all, counted from the very beginning also when resuming.
        key: A typed key; step t gets a key of its own made from it.
        run: Where metrics and checkpoints go. A `Run` opened with `resume=True` continues from its newest
            whole checkpoint.
        evaluate: Called as `evaluate(state, key=...)` every `evaluate_every` steps and after the last; its
            numbers are logged.
        evaluate_every: Steps between evaluations; only after the last step when None.
        log_every: Steps that one row of metrics averages over; by default about 1,000 rows in all.
        checkpoint_every: Steps between checkpoints; by default every 30 seconds.
        keep_checkpoints: How many of the newest checkpoints stay on disk, beside the best.
        best: Keeps the best state by a number of `evaluate`, and stops early if that has a patience.
        steps_per_dispatch: Fixes the steps of one dispatch. With 1 the step is compiled outside any loop,
            which convolutions on a CPU need to be fast.
        shards: Parts that each batch is cut into, each with a key of its own; see `mean_over_shards`. The
            run's by default, or one for each device.
        devices: Devices that the shards are spread over, those of all processes together; the run's by
            default, or one, or (with several processes, see `join`) all there are. The numbers depend on the
            shards, not on the devices.
        label: Shown beside the progress bar.

    Returns:
        The final state and the logged rows.

    Raises:
        ArgumentError: for a wrong argument, or a step that changes the structure of the state.
        DivergenceError: when a metric or the state becomes NaN or infinite. The last good state is saved as
            a checkpoint first, and is the error's `state`.
        Interrupted: after Ctrl-C or SIGTERM with a `run`: the state is saved and the run can be resumed.
        CheckpointError: when the run's checkpoints cannot be used.
        RunError: when another process of the training is gone; the last good state is saved.
    """
    n_steps = check_integer("n_steps", n_steps, minimum=1)
    log_every = _check_interval("log_every", log_every) or max(1, n_steps // ROWS_BY_DEFAULT)
    evaluate_every = _check_interval("evaluate_every", evaluate_every)
    checkpoint_every = _check_interval("checkpoint_every", checkpoint_every)
    check_key(key)
    _check_callable("step", step)
    check_integer("keep_checkpoints", keep_checkpoints, minimum=1)
    if evaluate is not None:
        _check_callable("evaluate", evaluate)
    if best is not None and (evaluate is None or evaluate_every is None):
        raise ArgumentError("best needs evaluate and evaluate_every: it compares evaluations")
    if not isinstance(batches, BatchSource):
        raise ArgumentError(f"batches must be Batches or a Stream, got {type(batches).__name__}")
    if run is not None:
        if not isinstance(run, Run):
            raise ArgumentError(f"run must be a Run, such as Run({run!r}), got {type(run).__name__}")
        shards = run.shards if shards is None else shards
        devices = run.devices if devices is None else devices
    group = current_group()
    step_key, evaluation_key = jax.random.split(key)
    program = Program(
        step,
        state,
        batches,
        key=step_key,
        steps_per_dispatch=steps_per_dispatch,
        placement=Placement.choose(n_shards=shards, n_devices=devices, group=group),
    )
    arrays, done, evaluated, window = program.initial, 0, 0, WindowMean(log_every, n_steps)
    rows: list[dict[str, Any]] = []
    best_so_far, best_arrays = BestSoFar(best), None
    identity = {
        "key": np.asarray(jax.random.key_data(key)).tolist(),
        "n_steps": n_steps,
        "log_every": log_every,
        "metrics": program.metric_names,
        "shards": program.placement.shards,
        "best": None if best is None else [best.metric, best.larger_is_better],
        **batches.identity(),
    }
    group.check_agreement("training", identity)
    files = None
    if run is not None:
        run.claim()
        files = RunFiles(run, identity, group)
        found = files.newest(arrays)
        if found is not None:
            arrays, done, evaluated = found.state, found.step, found.records["evaluated"]
            window = WindowMean(log_every, n_steps, found.records["window"])
            best_so_far = BestSoFar(best, found.records["best"])
            best_arrays = files.best(arrays, best_so_far.step).state if best_so_far.step else None
        if run.is_resumed:
            steps = f"step {done:,} of {n_steps:,}"
            if found is None:
                print(f"{label}: goes on from {steps}: no state was saved", file=sys.stderr)
            elif found.records.get("finished"):
                print(f"{label}: was finished at {steps}", file=sys.stderr)
            else:
                print(f"{label}: goes on from {steps}", file=sys.stderr)
    arrays = program.placement.replicate(arrays)

    def save() -> None:
        if files is not None:
            files.save(
                done,
                program.placement.local(arrays),
                keep=keep_checkpoints,
                spare=best_so_far.step,
                evaluated=evaluated,
                window=window.sums,
                best=best_so_far.records(),
                finished=done == n_steps or best_so_far.is_exhausted,
            )

    @contextlib.contextmanager
    def saving_if_left_alone() -> Iterator[None]:
        """Saves the last good state when what fails does so because another process is gone."""
        try:
            yield
        except Exception as error:
            lost = group.explain(error)
            if lost is None:
                raise
            save()
            raise lost from error

    def log(new: list[dict[str, Any]]) -> None:
        rows.extend(new)
        if files is not None:
            files.append(new)

    started = last_save = time.monotonic()
    with StopRequest(enabled=run is not None) as stop, ProgressBar(label, n_steps, done) as bar:
        while True:
            if evaluate is not None and evaluated < done and _is_evaluation(done, evaluate_every, n_steps):
                own_key = jax.random.fold_in(evaluation_key, done)
                try:
                    numbers = _numbers(evaluate(program.read(arrays), key=own_key), program.copies)
                    numbers = group.share(numbers)
                    trouble = _nonfinite(numbers, done)
                    if trouble is not None:
                        raise _divergence(trouble, run, done, program.read(arrays))
                    is_better = best_so_far.is_better(done, numbers)
                except BaseException:
                    save()
                    raise
                log([{"step": done, **numbers}])
                evaluated = done
                if is_better:
                    best_arrays = program.placement.local(arrays)
                    save()
            with saving_if_left_alone():
                agreed = group.gather({"stop": stop.requested, "count": program.next_count()})
            stopped = any(own["stop"] for own in agreed)
            if done == n_steps or stopped or best_so_far.is_exhausted:
                save()
                break
            boundaries = [_next(done, every) for every in (evaluate_every, checkpoint_every) if every]
            count = min([n_steps - done, agreed[0]["count"], *(next - done for next in boundaries)])
            with saving_if_left_alone():
                dispatch = program.advance(arrays, done, count)
            new = window.add(done, dispatch.metrics)
            log(new)
            arrays, done = dispatch.arrays, done + dispatch.n_steps
            if new and files is not None and program.steps_per_second is not None:
                seconds = round(time.monotonic() - started, 3)
                files.append_speed(
                    {"step": done, "seconds": seconds, "steps/s": round(program.steps_per_second, 3)}
                )
            latest = rows[-1] if rows else {}
            shown = {name: value for name, value in latest.items() if name != "step"}
            bar.update(done, program.steps_per_second, shown)
            if dispatch.trouble is not None:
                save()
                raise _divergence(dispatch.trouble, run, done, program.read(arrays))
            if done < n_steps and _is_due(checkpoint_every, done, last_save):
                save()
                last_save = time.monotonic()
    if stopped:
        raise Interrupted(
            f"stopped after step {done:,} of {n_steps:,}; the state is saved", signal=stop.signal
        )
    if files is not None:
        rows = group.share(files.rows())
    kept = None if best_arrays is None else program.combine(best_arrays)
    return Fitted(program.read(arrays), rows, done, kept)


def restore(path: str | Path, state: PyTree, *, best: bool = False) -> PyTree:
    """The newest state that the run in the directory `path` has saved, or the best.

    Args:
        path: A run directory.
        state: A state of the same structure, such as the one that training started from.
        best: Whether to return the state that was the best by what `fit` got as `best`.

    Raises:
        RunError: if there is no run, or none of its states is saved, or no best one is known.
        CheckpointError: if the saved states are damaged or of another structure.
    """
    arrays, static = eqx.partition(state, eqx.is_array)
    folder = Path(path) / "checkpoints"
    config_hash = hash_config(read_config(path))
    found = load_newest(folder, arrays, config_hash=config_hash)
    if found is None:
        raise RunError(f"{path} has saved no state yet")
    if best:
        if not found.records["best"]["step"]:
            raise RunError(f"{path} has no best state: fit was not given `best`, or has not evaluated yet")
        manifest = manifest_path(folder, found.records["best"]["step"])
        found = load_checkpoint(manifest, arrays, config_hash=config_hash)
    return eqx.combine(found.state, static)


def _next(done: int, every: int) -> int:
    """The next multiple of `every` after `done`."""
    return (done // every + 1) * every


def _is_evaluation(done: int, every: int | None, n_steps: int) -> bool:
    return done == n_steps or (every is not None and done % every == 0)


def _is_due(every: int | None, done: int, last_save: float) -> bool:
    """Whether a checkpoint is due: by steps where an interval was asked for, else by time."""
    if every is not None:
        return done % every == 0
    return time.monotonic() - last_save > SECONDS_BETWEEN_CHECKPOINTS


def _check_interval(name: str, value: int | None) -> int | None:
    return None if value is None else check_integer(name, value, minimum=1)


def _check_callable(name: str, function: Any) -> None:
    if not callable(function):
        raise ArgumentError(f"{name} must be a function, got {function!r}")


def _numbers(found: Any, copies: tuple[int, ...]) -> dict[str, Any]:
    """The numbers of an evaluation: floats, or lists of one a copy."""
    if not isinstance(found, Mapping) or "step" in found:
        raise ArgumentError(f"evaluate must return a dict of scalars without the name 'step', got {found!r}")
    numbers = {}
    for name, value in found.items():
        try:
            array = np.asarray(value, np.float64)
        except (TypeError, ValueError):
            array = None
        if array is None or array.shape not in ((), copies):
            raise ArgumentError(f"evaluate must return scalars, got {name!r}: {value!r}")
        numbers[name] = array.tolist()
    return numbers


def _nonfinite(numbers: Mapping[str, Any], done: int) -> Trouble | None:
    bad = [name for name, value in numbers.items() if not np.isfinite(value).all()]
    return Trouble(done, bad[0], str(numbers[bad[0]]), "evaluation after step") if bad else None


def _divergence(trouble: Trouble, run: Run | None, done: int, state: PyTree) -> DivergenceError:
    saved = "" if run is None else f" The state after {done:,} steps is saved in {run.checkpoints}."
    return DivergenceError(
        f"{trouble.quantity} became {trouble.value} at {trouble.when} {trouble.step:,}.{saved} The usual "
        "cures: a smaller learning rate, and data checked for extreme values.",
        step=trouble.step,
        quantity=trouble.quantity,
        state=state,
    )
