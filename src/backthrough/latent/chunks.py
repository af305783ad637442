"""A function of each example over a whole data set: memory bounded, progress shown, finished parts kept."""

import hashlib
import re
import zipfile
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from backthrough.core import CheckpointError, PyTree, check_integer
from backthrough.core.files import write_atomically
from backthrough.latent.bounds import n_examples
from backthrough.train import ProgressBar


def map_in_chunks(
    function: Callable[[Any, Any], PyTree],
    shared: PyTree,
    examples: PyTree,
    *,
    at_once: int,
    label: str,
    keep: Path | str | None = None,
    signature: Callable[[], Any] | None = None,
) -> Any:
    """`function(shared, chunk)` for chunks of the examples, put together again, on the host.

    Args:
        function: Of a module's top level, so that it is compiled once; what it returns has a leading axis
            as long as that of the chunk, and an example's part of it depends on that example alone.
        shared: What all examples share: modules, and hashable options.
        examples: A pytree of arrays with a leading axis of examples.
        at_once: Examples in a chunk. The last chunk overlaps the one before, so that one program serves all.
        label: Shown beside the progress bar.
        keep: A folder for finished chunks. What is found there is not computed again; it is found by a digest
            of all arrays, fields and options, and of the signature.
        signature: Numbers that depend on the code of what is shared, such as densities at fixed points.

    Returns:
        A pytree of NumPy arrays.

    Raises:
        ArgumentError: if `at_once` is below 1.
        CheckpointError: if a kept chunk is damaged.
    """
    n = n_examples("x", examples)
    at_once = min(check_integer("at_once", at_once, minimum=1), n)
    compiled = eqx.filter_jit(function)
    keep = None if keep is None else Path(keep)
    signed = None if keep is None or signature is None else np.asarray(signature(), np.float32)
    parts = []
    with ProgressBar(label, n) as bar:
        for start in range(0, n, at_once):
            stop = min(start + at_once, n)
            first = max(0, stop - at_once)
            chunk = jax.tree_util.tree_map(lambda leaf, a=first, b=stop: jnp.asarray(leaf[a:b]), examples)
            found = _kept(compiled, function.__name__, shared, chunk, keep, signed)
            parts.append(jax.tree_util.tree_map(lambda leaf, a=start - first: leaf[a:], found))
            bar.update(stop)
    return jax.tree_util.tree_map(lambda *leaves: np.concatenate(leaves), *parts)


def _kept(
    compiled: Callable[..., PyTree],
    name: str,
    shared: PyTree,
    chunk: PyTree,
    keep: Path | None,
    signed: np.ndarray | None,
) -> Any:
    """What the function makes of a chunk: from the folder, or computed and put there."""
    if keep is None:
        return jax.tree_util.tree_map(np.asarray, compiled(shared, chunk))
    path = keep / f"{name.strip('_')}-{_digest(name, shared, chunk, signed)}.npz"
    if path.exists():
        tree = eqx.filter_eval_shape(compiled, shared, chunk)
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


def _digest(*values: Any) -> str:
    digest = hashlib.sha256()
    _update(digest, values, set())
    return digest.hexdigest()[:24]


def _update(digest: Any, tree: Any, seen: set[int]) -> None:
    """Adds arrays, options, the code of functions and what they close over; not their global variables."""
    leaves, structure = jax.tree_util.tree_flatten(tree)
    digest.update(_without_addresses(structure))  # fields that are no arrays too
    for leaf in leaves:
        if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        if eqx.is_array_like(leaf):
            values = np.asarray(leaf)
            digest.update(f"{values.dtype}{values.shape}".encode())
            digest.update(values.tobytes())
        elif isinstance(leaf, FunctionType):
            if id(leaf) in seen:
                continue
            seen.add(id(leaf))
            digest.update(leaf.__code__.co_code + _without_addresses(leaf.__code__.co_consts))
            cells = [cell.cell_contents for cell in leaf.__closure__ or ()]
            _update(digest, (leaf.__defaults__, leaf.__kwdefaults__, cells), seen)
        elif isinstance(leaf, MethodType):
            _update(digest, (leaf.__func__, leaf.__self__), seen)
        elif isinstance(leaf, partial):
            _update(digest, (leaf.func, leaf.args, leaf.keywords), seen)
        else:
            digest.update(_without_addresses(leaf))
            if hasattr(leaf, "__dict__") and not isinstance(leaf, type) and id(leaf) not in seen:
                seen.add(id(leaf))
                _update(digest, vars(leaf), seen)


def _without_addresses(value: Any) -> bytes:
    """Its representation, the same in every process."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value)).encode()
