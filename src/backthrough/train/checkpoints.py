"""Checkpoints: an npz of the state's arrays and a JSON manifest, verified whenever they are read.

`step-000000001200.npz` holds the arrays; `step-000000001200.json`, written after it, holds their tree paths,
dtypes, key implementations, the step, the run's configuration hash, the SHA-256 of the npz, and the
SHA-256 of the manifest itself. A checkpoint exists once its manifest does.
"""

import hashlib
import io
import json
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

from backthrough.core import CheckpointError, DamagedCheckpointError, PyTree
from backthrough.core.files import TEMPORARY_PREFIX, sync_folder, write_atomically
from backthrough.train.processes import Group

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds: the step it was taken after, the state, and the loop's own records."""

    step: int
    state: PyTree
    records: Mapping[str, Any]
    path: Path


def save_checkpoint(
    folder: Path,
    step: int,
    state: PyTree,
    *,
    config_hash: str,
    records: Mapping[str, Any],
    keep: int = 3,
    spare: int | None = None,
) -> Path:
    """Writes the arrays of `state` after `step` steps into `folder` and removes the old ones.

    Args:
        folder: Where the checkpoint files live; made if missing.
        step: Number of steps that led to `state`.
        state: A pytree whose leaves are JAX arrays (typed keys allowed).
        config_hash: Identifies the configuration; `load_newest` refuses another.
        records: JSON values to return with the state.
        keep: How many of the newest stay: one is enough until it is damaged, the others survive that.
        spare: Step of another that stays, such as the best.

    Returns:
        The path of the npz file.
    """
    if not folder.is_dir():
        folder.mkdir(parents=True)
        sync_folder(folder.parent)
    leaves, data = _pack(state)
    manifest = {
        "format": FORMAT_VERSION,
        "step": step,
        "config": config_hash,
        "leaves": leaves,
        "records": dict(records),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    manifest["manifest_sha256"] = _manifest_digest(manifest)
    path = manifest_path(folder, step)
    npz = path.with_suffix(".npz")
    write_atomically(npz, data)
    write_atomically(path, json.dumps(manifest, indent=1).encode())
    _remove_old(folder, keep, manifest_path(folder, step if spare is None else spare))
    return npz


def manifest_path(folder: Path, step: int) -> Path:
    """The `.json` file of the checkpoint after `step` steps."""
    return folder / f"step-{step:012d}.json"


def load_checkpoint(manifest_path: Path, like: PyTree, *, config_hash: str | None = None) -> Checkpoint:
    """Reads and verifies one checkpoint.

    Args:
        manifest_path: The `.json` file of the checkpoint.
        like: A pytree with the structure, shapes and dtypes that the state must have.
        config_hash: When given, the configuration the checkpoint must have been written under.

    Raises:
        DamagedCheckpointError: naming the file whose bytes are not those that were written.
        CheckpointError: naming the file and how it differs: another format, configuration or state.
    """
    manifest = _read_manifest(manifest_path)
    npz = manifest_path.with_suffix(".npz")
    try:
        data = npz.read_bytes()
    except OSError as error:
        raise DamagedCheckpointError(f"{npz} cannot be read: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != manifest["sha256"]:
        raise DamagedCheckpointError(f"{npz} is damaged: its SHA-256 is not the one in {manifest_path.name}")
    if config_hash is not None and manifest["config"] != config_hash:
        raise CheckpointError(f"{manifest_path} was written under another configuration")
    expected = jax.tree_util.tree_leaves_with_path(like)
    found = {leaf["path"]: leaf for leaf in manifest["leaves"]}
    for path, leaf in expected:
        name = jax.tree_util.keystr(path)
        entry = found.pop(name, None)
        if entry is None:
            raise CheckpointError(f"{manifest_path} has no array for state{name}")
        _, description = _describe(leaf)
        if description != {key: entry[key] for key in ("shape", "dtype", "key")}:
            raise CheckpointError(
                f"{manifest_path}: state{name} is {entry['dtype']}{entry['shape']} there, "
                f"and {description['dtype']}{description['shape']} here"
            )
    if found:
        raise CheckpointError(f"{manifest_path} has arrays that the state lacks: {', '.join(found)}")
    state = _unpack(manifest["leaves"], data, like)
    return Checkpoint(manifest["step"], state, manifest["records"], npz)


def load_newest(folder: Path, like: PyTree, *, config_hash: str) -> Checkpoint | None:
    """Reads the newest checkpoint in `folder` that is whole, warning of every damaged one before it.

    Returns:
        The checkpoint, or None when there has never been one.

    Raises:
        CheckpointError: if checkpoints exist and all are damaged, or if the newest whole one is of another
            format, configuration or state.
    """
    manifests = _manifests(folder)
    for path in manifests:
        try:
            return load_checkpoint(path, like, config_hash=config_hash)
        except DamagedCheckpointError as error:
            warnings.warn(f"checkpoint not used: {error}", stacklevel=2)
    if manifests:
        raise CheckpointError(
            f"all {len(manifests)} checkpoints in {folder} are damaged; see the warnings above. "
            "Start a new run directory, or restore the files."
        )
    return None


@dataclass(frozen=True)
class Progress:
    """How far a training has come: steps whose state is saved, of how many, and whether it is done.

    It is done before all steps are made when its patience for a better state came to an end.
    """

    done: int
    n_steps: int
    finished: bool


def read_progress(run: str | Path) -> Progress | None:
    """How far the training in a run directory has come; None when it has saved nothing.

    Raises:
        CheckpointError: if all that it has saved is damaged, or of another format.
    """
    manifests = _manifests(Path(run) / "checkpoints")
    for path in manifests:
        try:
            manifest = _read_manifest(path)
        except DamagedCheckpointError:
            continue
        n_steps = manifest["records"]["identity"]["n_steps"]
        finished = manifest["records"].get("finished", manifest["step"] == n_steps)
        return Progress(manifest["step"], n_steps, finished)
    if manifests:
        raise CheckpointError(f"all {len(manifests)} checkpoints in {manifests[0].parent} are damaged")
    return None


def share_checkpoint(found: Checkpoint | None, like: PyTree, group: Group) -> Checkpoint | None:
    """The checkpoint that the first of several processes has found, in all of them and bit for bit."""
    if group.size == 1:
        return found
    about, data = None, b""
    if found is not None:
        leaves, data = _pack(found.state)
        about = {"step": found.step, "records": found.records, "path": str(found.path), "leaves": leaves}
    about = group.share(about)
    if about is None:
        return None
    state = _unpack(about["leaves"], group.share_bytes(bytes(data)), like)
    return Checkpoint(about["step"], state, about["records"], Path(about["path"]))


def _pack(state: PyTree) -> tuple[list[dict[str, Any]], memoryview]:
    """Descriptions of the leaves, and an npz of their arrays."""
    leaves = []
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for index, (path, leaf) in enumerate(jax.tree_util.tree_leaves_with_path(state)):
            array, description = _to_host(leaf)
            leaves.append({"path": jax.tree_util.keystr(path), **description})
            with archive.open(zipfile.ZipInfo(f"{index}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
    return leaves, buffer.getbuffer()


def _unpack(leaves: Sequence[Mapping[str, Any]], data: bytes, like: PyTree) -> PyTree:
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        by_path = {
            entry["path"]: _from_host(archive[str(index)], entry) for index, entry in enumerate(leaves)
        }
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(like)]
    structure = jax.tree_util.tree_structure(like)
    return jax.tree_util.tree_unflatten(structure, [by_path[path] for path in paths])


def _manifests(folder: Path) -> list[Path]:
    """The manifests in `folder`, newest first."""
    return sorted(folder.glob("step-*.json"), reverse=True)


def _remove_old(folder: Path, keep: int, spared: Path) -> None:
    """Removes all but the newest checkpoints and one other, and what an interrupted save has left."""
    for old in _manifests(folder)[keep:]:
        if old != spared:
            old.unlink()
    for path in folder.glob("step-*.npz"):
        if not path.with_suffix(".json").exists():
            path.unlink()
    for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
        path.unlink()


def _manifest_digest(manifest: Mapping[str, Any]) -> str:
    body = {key: value for key, value in manifest.items() if key != "manifest_sha256"}
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_bytes())
        version = manifest["format"]
        whole = manifest["manifest_sha256"] == _manifest_digest(manifest)
    except OSError as error:
        raise DamagedCheckpointError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedCheckpointError(f"{path} is damaged: it is not a whole manifest") from error
    if not whole:
        raise DamagedCheckpointError(f"{path} is damaged: its own SHA-256 does not match")
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format {version!r}; this version of backthrough reads format {FORMAT_VERSION}"
        )
    return manifest


def _describe(leaf: Any) -> tuple[Any, dict[str, Any]]:
    """The leaf as a plain array (or its shape and dtype), and its description in the manifest."""
    key = None
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        key = str(jax.random.key_impl(leaf))
        leaf = jax.random.key_data(leaf)
    return leaf, {"shape": list(leaf.shape), "dtype": np.dtype(leaf.dtype).name, "key": key}


def _to_host(leaf: Any) -> tuple[np.ndarray, dict[str, Any]]:
    plain, description = _describe(leaf)
    array = np.asarray(plain)
    if _is_extended(array.dtype):  # npz knows no bfloat16: store its bits
        array = array.view(f"u{array.dtype.itemsize}")
    return array, description


def _from_host(array: np.ndarray, entry: Mapping[str, Any]) -> jax.Array:
    dtype = np.dtype(getattr(ml_dtypes, entry["dtype"], None) or entry["dtype"])
    if _is_extended(dtype):
        array = array.view(dtype)
    leaf = jnp.asarray(array)
    return leaf if entry["key"] is None else jax.random.wrap_key_data(leaf, impl=entry["key"])


def _is_extended(dtype: np.dtype) -> bool:
    return dtype.kind == "V" or dtype.type.__module__ == "ml_dtypes"
