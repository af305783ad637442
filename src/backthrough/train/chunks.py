"""A function of each example over a whole data set: memory bounded, progress shown, finished parts kept."""

import functools
import hashlib
import re
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from backthrough.core import ArgumentError, CheckpointError, PyTree, check_integer
from backthrough.core.files import write_atomically
from backthrough.train.progress import ProgressBar


def map_in_chunks(
    function: Callable[[Any, Any], PyTree],
    shared: PyTree,
    examples: PyTree,
    *,
    at_once: int,
    label: str,
    keep: Path | str | None = None,
    signature: Callable[[], Any] | None = None,
    effort: int | None = None,
) -> Any:
    """`function(shared, chunk)` for chunks of the examples, put together again, on the host.

    Args:
        function: What it returns has a leading axis as long as that of the chunk, and an example's part of it
            depends on that example alone.
        shared: What all examples share: modules, and hashable options.
        examples: A pytree of arrays with a leading axis of examples.
        at_once: Examples in a chunk. The last chunk overlaps the one before, so that one program serves all.
        label: Shown beside the progress bar, and the name of kept chunks: another one for each function.
        keep: A folder for finished chunks. What is found there is not computed again; it is found by a digest
            of all arrays and options, and of the signature.
        signature: Returns numbers that change with the code and the fields of what is shared, such as
            densities at fixed points.
        effort: How hard the compiler tries on a CPU, 0 to 3, for programs that compile far longer than they
            run; as JAX is told when None.

    Returns:
        A pytree of NumPy arrays.

    Raises:
        ArgumentError: if `at_once` is below 1.
        CheckpointError: if a kept chunk is damaged.
    """
    n = n_examples("x", examples)
    at_once = min(check_integer("at_once", at_once, minimum=1), n)
    # Compiled anew by each call: objects that are no pytrees may have changed without a sign of it.
    compiled = eqx.filter_jit(lambda shared, chunk: function(shared, chunk), **_options(effort))
    keep = None if keep is None else Path(keep)
    signed = None if keep is None or signature is None else np.asarray(signature(), np.float32)
    parts = []
    with ProgressBar(label, n) as bar:
        for start in range(0, n, at_once):
            stop = min(start + at_once, n)
            first = max(0, stop - at_once)
            chunk = jax.tree_util.tree_map(lambda leaf, a=first, b=stop: jnp.asarray(leaf[a:b]), examples)
            found = _kept(function, compiled, label, shared, chunk, keep, signed)
            parts.append(jax.tree_util.tree_map(lambda leaf, a=start - first: leaf[a:], found))
            bar.update(stop)
    return jax.tree_util.tree_map(lambda *leaves: np.concatenate(leaves), *parts)


def n_examples(name: str, tree: PyTree) -> int:
    """The length of the leading axis that all arrays share.

    Raises:
        ArgumentError: if it differs between them, or there are no examples.
    """
    leaves = jax.tree_util.tree_leaves(tree)
    if any(leaf.ndim == 0 for leaf in leaves):
        raise ArgumentError(
            f"{name} must be an array, or a pytree of arrays, with a leading axis of examples; it holds a "
            "single number (a list of numbers is a pytree of them: make it an array)"
        )
    lengths = {leaf.shape[0] for leaf in leaves}
    if len(lengths) > 1:
        raise ArgumentError(f"all arrays of {name} need as many examples, got {sorted(lengths)}")
    if not lengths or 0 in lengths:
        raise ArgumentError(f"{name} has no examples")
    return lengths.pop()


@functools.cache
def _can_be_without_emitters() -> bool:
    try:
        jax.jit(lambda: 0, compiler_options={"xla_cpu_use_fusion_emitters": False}).lower().compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True


def _options(effort: int | None) -> dict[str, Any]:
    if effort is None or jax.default_backend() != "cpu":
        return {}
    # Each loop that they emit makes a context of MLIR first; later versions have no choice.
    options: dict[str, Any] = {"xla_cpu_use_fusion_emitters": False} if _can_be_without_emitters() else {}
    if not jax.config.read("jax_disable_most_optimizations"):
        options["xla_backend_optimization_level"] = effort
    return {"compiler_options": options}


def _kept(
    function: Callable[[Any, Any], PyTree],
    compiled: Callable[..., PyTree],
    label: str,
    shared: PyTree,
    chunk: PyTree,
    keep: Path | None,
    signed: np.ndarray | None,
) -> Any:
    """What the function makes of a chunk: from the folder, or computed and put there."""
    if keep is None:
        return jax.tree_util.tree_map(np.asarray, compiled(shared, chunk))
    path = keep / f"{label.replace(' ', '-')}-{_digest(label, shared, chunk, signed)}.npz"
    if path.exists():
        tree = eqx.filter_eval_shape(function, shared, chunk)  # options cannot be given inside a trace
        return jax.tree_util.tree_unflatten(jax.tree_util.tree_structure(tree), _read(path))
    found = jax.tree_util.tree_map(np.asarray, compiled(shared, chunk))
    keep.mkdir(parents=True, exist_ok=True)
    memory = BytesIO()
    np.savez(memory, *jax.tree_util.tree_leaves(found))
    write_atomically(path, memory.getvalue())
    return found


def _read(path: Path) -> list[np.ndarray]:
    try:
        with np.load(BytesIO(path.read_bytes()), allow_pickle=False) as file:
            return [file[f"arr_{index}"] for index in range(len(file.files))]
    except (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path} is damaged ({error}): delete it, and it is computed again") from error


def _digest(label: str, *trees: PyTree) -> str:
    """Of all arrays, options and fixed fields; what is no array counts by how it is written."""
    digest = hashlib.sha256(label.encode())
    digest.update(_without_addresses(jax.tree_util.tree_structure(trees)))
    for leaf in jax.tree_util.tree_leaves(trees):
        if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        if eqx.is_array_like(leaf):
            values = np.asarray(leaf)
            digest.update(f"{values.dtype}{values.shape}".encode())
            digest.update(values.tobytes())
        else:
            digest.update(_without_addresses(leaf))
    return digest.hexdigest()[:24]


def _without_addresses(thing: Any) -> bytes:
    """How it is written, which in another process is the same."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(thing)).encode()
