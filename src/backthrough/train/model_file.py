"""A trained model as one file: an npz of its arrays and its settings as JSON, verified when it is read."""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from backthrough.core import DataError, PRNGKey, PyTree
from backthrough.core.files import write_atomically

ABOUT = "about"
FORMAT_VERSION = 1


def save_model(
    path: str | Path, kind: str, *, settings: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> None:
    """Writes a model.

    Args:
        path: The file; replaced if it exists.
        kind: What it is a model of, such as the name of its class; `load_model` asks for it.
        settings: JSON values.
        arrays: Its arrays by name; no name is `"about"`.
    """
    about = {"format": FORMAT_VERSION, "kind": kind, "settings": dict(settings), "sha256": _digest(arrays)}
    text = np.frombuffer(json.dumps(about).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{ABOUT: text}, **arrays)
    write_atomically(Path(path), buffer.getvalue())


def load_model(path: str | Path, kind: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Settings and arrays of a model that `save_model` wrote.

    Raises:
        DataError: naming the file that cannot be read, is damaged, or holds another kind of model.
    """
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        about = json.loads(arrays.pop(ABOUT).tobytes())
        whole = about["sha256"] == _digest(arrays)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} holds no model of backthrough, or is damaged") from error
    if not whole:
        raise DataError(f"{path} is damaged: the arrays are not those that were saved")
    if about["format"] != FORMAT_VERSION:
        raise DataError(
            f"{path} has format {about['format']!r}; this version of backthrough reads {FORMAT_VERSION}"
        )
    if about["kind"] != kind:
        raise DataError(f"{path} holds a model of the kind {about['kind']!r}, not {kind!r}")
    return about["settings"], arrays


def arrays_of(module: PyTree) -> list[np.ndarray]:
    """The arrays of a module on the host, in the order of its leaves: what can be pickled and saved."""
    return [np.asarray(leaf) for leaf in jax.tree_util.tree_leaves(eqx.filter(module, eqx.is_array))]


def with_arrays(make: Callable[[PRNGKey], PyTree], arrays: Sequence[np.ndarray]) -> PyTree:
    """The module that `make` makes from a key, with these arrays in place of those that it would draw."""
    skeleton = eqx.filter_eval_shape(make, jax.random.key(0))
    shapes, static = eqx.partition(skeleton, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))
    structure = jax.tree_util.tree_structure(shapes)
    filled = jax.tree_util.tree_unflatten(structure, [jnp.asarray(array) for array in arrays])
    return eqx.combine(filled, static)


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
