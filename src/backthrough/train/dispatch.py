"""The compiled part of `fit`: many steps in one dispatch, and the search for where a state went bad."""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from backthrough.core import ArgumentError, DataError, PRNGKey, PyTree, check_integer
from backthrough.train.batches import BatchSource
from backthrough.train.placement import Placement, mean_over_shards
from backthrough.train.seeds import StepOfCopies

SECONDS_A_DISPATCH = 0.2
MOST_STEPS_A_DISPATCH = 1000
MOST_INPUT_BYTES = 64 * 2**20


class Trouble(NamedTuple):
    """What became NaN or infinite, at which zero-based step (or after how many, in an evaluation)."""

    step: int
    quantity: str
    value: str
    when: str = "step"


class Dispatch(NamedTuple):
    """What one dispatch did: sound steps, the state after them, their metrics, and what went wrong."""

    arrays: PyTree
    n_steps: int
    metrics: Mapping[str, np.ndarray]
    trouble: Trouble | None


class Program:
    """A training step compiled into a loop of any number of steps.

    The number of steps is an argument of the compiled loop, so that one program serves every dispatch. The
    state is not donated: the one before a dispatch is what a failure falls back to.

    Attributes:
        initial: The arrays of the state at the start.
        placement: Where the shards of a batch lie.
        copies: Shape of a metric: () or, with `over_seeds`, (copies,).
        steps_per_second: Speed of the last dispatch, None before the second.
    """

    def __init__(
        self,
        step: Callable[..., Any],
        state: PyTree,
        batches: BatchSource,
        *,
        key: PRNGKey,
        steps_per_dispatch: int | None,
        placement: Placement,
    ):
        state = jax.tree_util.tree_map(lambda x: jnp.asarray(x) if isinstance(x, np.ndarray) else x, state)
        arrays, self._static = eqx.partition(state, eqx.is_array)
        self.initial = jax.tree_util.tree_map(_strong, arrays)
        self.steps_per_second: float | None = None
        self._batches = batches
        self.placement = placement
        self._data = placement.replicate(batches.data)
        self._key = placement.replicate(key)
        self._watched = [
            _is_float(leaf) and bool(jnp.isfinite(leaf).all()) for leaf in jax.tree_util.tree_leaves(arrays)
        ]
        self._dispatched = 0
        self._rows = slice(None)
        if placement.shards > 1:
            placement.check_batch(batches.n_rows())
            self._rows = placement.own_rows(batches.n_rows())
        first = batches.inputs(0, self._rows)
        self._fixed = steps_per_dispatch is not None
        if steps_per_dispatch is None:
            size = sum(np.asarray(leaf).nbytes for leaf in jax.tree_util.tree_leaves(first))
            self._capacity = int(np.clip(MOST_INPUT_BYTES // max(size, 1), 1, MOST_STEPS_A_DISPATCH))
        else:
            self._capacity = check_integer("steps_per_dispatch", steps_per_dispatch, minimum=1)

        copies = self.copies = (step.n_copies,) if isinstance(step, StepOfCopies) else ()

        def on_one_shard(arrays: PyTree, data: PyTree, inputs: PyTree, key: PRNGKey) -> Any:
            result = step(self.combine(arrays), batches.fetch(data, inputs), key=key)
            if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], Mapping)):
                raise ArgumentError("step must return (state, metrics) with metrics a dict of scalars")
            new_state, metrics = result
            new_arrays, new_static = eqx.partition(new_state, eqx.is_array)
            _check_unchanged(self._static, new_static)
            return jax.tree_util.tree_map(_strong, new_arrays), mean_over_shards(_scalars(metrics, copies))

        part = jax.tree_util.tree_map(lambda leaf: placement.cut(np.asarray(leaf)[None])[0, 0], first)
        new, metrics = jax.eval_shape(on_one_shard, self.initial, batches.data, part, key)
        _check_same_structure(self.initial, new)
        if placement.shards > 1:
            _check_shards_agree(on_one_shard, (self.initial, batches.data, part, key), placement.shards)
        self.metric_names = list(metrics)
        self._first = _describe(first)
        one_step = placement.over_shards(on_one_shard)

        def many_steps(
            arrays: PyTree, data: PyTree, inputs: PyTree, start: Any, count: Any, key: PRNGKey
        ) -> Any:
            buffers = {name: jnp.zeros((self._capacity, *m.shape), m.dtype) for name, m in metrics.items()}

            def body(i: Any, carry: Any) -> Any:
                arrays, buffers = carry
                own = jax.tree_util.tree_map(lambda x: x[i], inputs)
                arrays, values = one_step(arrays, data, own, jax.random.fold_in(key, start + i))
                return arrays, {name: buffers[name].at[i].set(values[name]) for name in buffers}

            if self._capacity == 1:
                return body(0, (arrays, buffers))
            return jax.lax.fori_loop(0, count, body, (arrays, buffers))

        self._compiled = jax.jit(placement.across_devices(many_steps))
        self._all_finite = jax.jit(
            lambda leaves: jnp.array([jnp.isfinite(leaf).all() for leaf in leaves]).all()
        )

    def combine(self, arrays: PyTree) -> PyTree:
        """The whole state from its arrays."""
        return eqx.combine(arrays, self._static)

    def read(self, arrays: PyTree) -> PyTree:
        """The whole state from replicated arrays, as this process can read it."""
        return self.combine(self.placement.local(arrays))

    def advance(self, arrays: PyTree, done: int, count: int) -> Dispatch:
        """Makes `count` steps, or fewer if something goes bad, from the state after `done` steps."""
        started = time.perf_counter()
        new, metrics = self._steps(arrays, done, count)
        self._measure(count, time.perf_counter() - started)
        bad = _first_nonfinite(metrics)
        if bad is None and self._is_finite(new):
            return Dispatch(new, count, metrics, None)
        sound = count if bad is None else bad[0]
        good, reached = self._last_finite(arrays, done, sound)
        if bad is None:
            trouble = Trouble(done + reached, "state", "non-finite")
        else:
            trouble = Trouble(done + sound, bad[1], str(bad[2]))
        kept = {name: series[:reached] for name, series in metrics.items()}
        return Dispatch(good, reached, kept, trouble)

    def _steps(self, arrays: PyTree, done: int, count: int) -> tuple[PyTree, dict[str, np.ndarray]]:
        chosen = [self._inputs(done + i) for i in range(count)]
        inputs = self.placement.distribute(jax.tree_util.tree_map(self._pad, *chosen))
        new, metrics = self._compiled(arrays, self._data, inputs, done, count, self._key)
        return new, {name: np.asarray(series)[:count] for name, series in metrics.items()}

    def _inputs(self, step: int) -> PyTree:
        inputs = self._batches.inputs(step, self._rows)
        if _describe(inputs) != self._first:
            raise DataError(
                f"the batch of step {step} has the arrays {_describe(inputs)} and that of step 0 had "
                f"{self._first}; all must be alike"
            )
        return inputs

    def _pad(self, *leaves: np.ndarray) -> np.ndarray:
        stacked = np.empty((self._capacity, *np.shape(leaves[0])), np.asarray(leaves[0]).dtype)
        stacked[: len(leaves)] = leaves
        stacked[len(leaves) :] = leaves[0]
        return self.placement.cut(stacked)

    def next_count(self) -> int:
        """How many steps the next dispatch should make at most."""
        if self._fixed:
            return self._capacity
        if self.steps_per_second is None:
            return 1
        return int(np.clip(SECONDS_A_DISPATCH * self.steps_per_second, 1, self._capacity))

    def _measure(self, count: int, seconds: float) -> None:
        self._dispatched += 1
        if self._dispatched > 1:  # the first one compiles
            self.steps_per_second = count / max(seconds, 1e-9)

    def _is_finite(self, arrays: PyTree) -> bool:
        leaves = jax.tree_util.tree_leaves(self.placement.local(arrays))
        watched = [leaf for leaf, watch in zip(leaves, self._watched, strict=True) if watch]
        return bool(self._all_finite(watched)) if watched else True

    def _last_finite(self, arrays: PyTree, done: int, sound: int) -> tuple[PyTree, int]:
        """The state after as many of the first `sound` steps as leave it finite, and their number."""
        low, best, high = 0, arrays, sound
        while low < high:
            middle = (low + high + 1) // 2
            candidate, _ = self._steps(arrays, done, middle)
            if self._is_finite(candidate):
                low, best = middle, candidate
            else:
                high = middle - 1
        return best, low


def _strong(leaf: jax.Array) -> jax.Array:
    """The array without JAX's weak type, which would change from one step to the next."""
    return jnp.asarray(leaf, leaf.dtype)


def _is_float(leaf: jax.Array) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.inexact)


def _first_nonfinite(metrics: Mapping[str, np.ndarray]) -> tuple[int, str, float] | None:
    """The earliest offset at which a metric is NaN or infinite, with its name and value."""
    found = []
    for name, series in metrics.items():
        bad = np.argwhere(~np.isfinite(series.astype(np.float64)))
        if bad.size:
            offset, *copy = (int(index) for index in bad[0])
            label = f"{name} of copy {copy[0]}" if copy else name
            found.append((offset, label, float(series[(offset, *copy)])))
    return min(found, key=lambda entry: entry[0]) if found else None


def _check_same_structure(before: PyTree, after: PyTree) -> None:
    old, new = _describe(before), _describe(after)
    for path in dict.fromkeys([*old, *new]):
        if old.get(path) != new.get(path):
            raise ArgumentError(
                f"step must keep the structure of the state, but state{path} was "
                f"{old.get(path, 'absent')} and becomes {new.get(path, 'absent')}"
            )
    structures = [jax.tree_util.tree_structure(tree) for tree in (before, after)]
    if structures[0] != structures[1]:
        raise ArgumentError("step must return the state in the same containers (tuple, list, dict, ...)")


def _check_shards_agree(step: Callable[..., Any], arguments: Any, shards: int) -> None:
    """Traces the step on all shards at once, where a state that differs between them shows."""
    arrays, data, part, key = arguments
    parts = jax.tree_util.tree_map(lambda leaf: jax.ShapeDtypeStruct((shards, *leaf.shape), leaf.dtype), part)
    try:
        jax.eval_shape(Placement(shards, (None,)).over_shards(step), arrays, data, parts, key)
    except ValueError as error:
        if "out_axes" not in str(error):
            raise
        raise ArgumentError(
            f"the new state differs between the {shards} shards of the batch: pass the gradients "
            "(and whatever else depends on the batch or the key) through train.mean_over_shards in the step"
        ) from None


def _check_unchanged(before: PyTree, after: PyTree) -> None:
    """Refuses a step that changes what is not an array: only arrays are carried along."""
    old = dict(jax.tree_util.tree_leaves_with_path(before))
    for path, leaf in jax.tree_util.tree_leaves_with_path(after):
        plain = isinstance(leaf, (bool, int, float, complex, str))
        if plain and path in old and old[path] != leaf:
            raise ArgumentError(
                f"step changes state{jax.tree_util.keystr(path)} from {old[path]!r} to {leaf!r}, which is "
                "not an array and would not be carried along; make it one with jnp.asarray"
            )


def _scalars(metrics: Mapping[str, Any], copies: tuple[int, ...]) -> dict[str, jax.Array]:
    """The metrics as arrays, scalars or (from `over_seeds`) one number a copy; true and false as 1 and 0."""
    if not metrics:
        raise ArgumentError("step must return at least one metric, such as the loss")
    if "step" in metrics:
        raise ArgumentError("a metric cannot be named 'step': rows have their step under that name")
    scalars = {}
    for name, value in metrics.items():
        dtype = value.dtype if hasattr(value, "dtype") else np.asarray(value).dtype
        shape, kind = np.shape(value), dtype.kind
        if shape != copies or kind not in "biufV":
            raise ArgumentError(f"metric {name!r} must be a real scalar, got {value!r}")
        scalars[name] = jnp.asarray(value, jnp.result_type(float) if kind == "b" else None)
    return scalars


def _describe(inputs: PyTree) -> dict[str, str]:
    leaves = jax.tree_util.tree_leaves_with_path(inputs)
    return {jax.tree_util.keystr(path): f"{leaf.dtype}{list(leaf.shape)}" for path, leaf in leaves}
