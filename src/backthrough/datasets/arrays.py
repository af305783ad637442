"""Arrays from NumPy's own files, never from pickles."""

import tokenize
import zipfile
import zlib
from collections.abc import Callable, Collection
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, TypeVar

import numpy as np
from jaxtyping import Shaped

from backthrough.core import DataError
from backthrough.datasets.contents import Arrays

NPY_MAGIC = b"\x93NUMPY"
ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
PICKLE_MAGIC = b"\x80"
OWN_DATA_LICENCE = "not stated (your own file)"
DAMAGES = (ValueError, SyntaxError, EOFError, OverflowError, MemoryError, tokenize.TokenError)

Read = TypeVar("Read")


def read_arrays(path: str | Path) -> Arrays:
    """Reads the arrays of a `.npz` file, or the one array of a `.npy` file under the name `"array"`.

    Args:
        path: The file; what it is shows from its first bytes, not from its name.

    Returns:
        The arrays by name, read-only, with the path as `source`.

    Raises:
        DataError: if the file cannot be read, is empty, cut off, damaged or neither format, or if an array
            holds Python objects: those are pickles, and loading a pickle can run any code.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "mine.npz"
        >>> np.savez(path, images=np.zeros((5, 8, 8)))
        >>> read_arrays(path)["images"].shape
        (5, 8, 8)
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            start = file.read(len(NPY_MAGIC))
            file.seek(0)
            if start.startswith(ZIP_MAGICS):
                arrays = read_npz(file, path)
            elif start == NPY_MAGIC:
                arrays = {"array": _read_npy(file, path, "array")}
            else:
                raise DataError(f"{path} {_what_else(start)}")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    return Arrays(freeze(arrays), licence=OWN_DATA_LICENCE, source=str(path))


def read_npz(
    file: IO[bytes], path: Path, *, names: Collection[str] | None = None
) -> dict[str, Shaped[np.ndarray, "..."]]:
    """The arrays of an open `.npz` file by name.

    Args:
        file: The open file.
        path: What to call it in messages.
        names: Which arrays to read, without touching the others; all of them when None.

    Raises:
        DataError: naming the file and the array that cannot be read.
    """
    return _read_members(file, path, _read_npy, names)


def read_npz_headers(file: IO[bytes], path: Path) -> dict[str, tuple[np.dtype, tuple[int, ...]]]:
    """The type and the shape of each array of an open `.npz` file by name; no array is read.

    Args:
        file: The open file.
        path: What to call it in messages.

    Raises:
        DataError: naming the file and the array that cannot be read.
    """
    return _read_members(file, path, _read_header)


def freeze(
    arrays: dict[str, Shaped[np.ndarray, "..."]],
) -> MappingProxyType[str, Shaped[np.ndarray, "..."]]:
    """The same arrays in a mapping that cannot be changed, each made read-only."""
    for array in arrays.values():
        array.setflags(write=False)
    return MappingProxyType(arrays)


def _read_members(
    file: IO[bytes],
    path: Path,
    read: Callable[[Any, Path, str], Read],
    names: Collection[str] | None = None,
) -> dict[str, Read]:
    members = {}
    start = file.read(len(NPY_MAGIC))
    file.seek(0)
    if start == NPY_MAGIC:
        raise DataError(f"{path} holds one array (.npy), and a .npz file of several is needed")
    try:
        with zipfile.ZipFile(file) as archive:
            for member in archive.namelist():
                name = member.removesuffix(".npy")
                if name == member:
                    raise DataError(f"{path}: {member!r} inside it is not an array (.npy)")
                if names is None or name in names:
                    with archive.open(member) as stream:
                        members[name] = read(stream, path, name)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is damaged or cut off: {error}") from error
    if not members:
        raise DataError(f"{path} holds no arrays")
    return members


def _read_npy(stream: Any, path: Path, name: str) -> np.ndarray:  # anything that reads bytes
    try:
        return np.lib.format.read_array(stream, allow_pickle=False)
    except DAMAGES as error:
        if "Object arrays" in str(error):
            raise DataError(
                f"{path}: array {name!r} holds Python objects, which are refused because loading them can "
                "run any code; save it as numbers or fixed-length text"
            ) from error
        raise DataError(f"{path}: array {name!r} is damaged or cut off: {error}") from error


def _read_header(stream: Any, path: Path, name: str) -> tuple[np.dtype, tuple[int, ...]]:
    try:
        version = np.lib.format.read_magic(stream)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(stream)
    except DAMAGES as error:
        raise DataError(f"{path}: array {name!r} is damaged or cut off: {error}") from error
    return dtype, shape


def _what_else(start: bytes) -> str:
    if not start:
        return "is empty"
    if start.startswith(PICKLE_MAGIC):
        return (
            "is a pickle, which is refused because loading one can run any code; "
            "save the arrays with numpy.savez"
        )
    return "is neither a .npy nor a .npz file"
