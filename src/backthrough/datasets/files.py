"""The content of a data file, used only when its digest is the expected one."""

import gzip
import zlib
from pathlib import Path

from backthrough.core import DataError
from backthrough.datasets.arrays import read_npz
from backthrough.datasets.digests import Content, content_digest

GZIP_MAGIC = b"\x1f\x8b"


def read_content(path: Path) -> Content:
    """What a file holds: the arrays of an `.npz`, else its bytes, decompressed when the name ends in `.gz`.

    Raises:
        DataError: if the file cannot be read, is damaged or cut off.
    """
    try:
        if path.suffix == ".npz":
            with open(path, "rb") as file:
                return read_npz(file, path)
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    return decompress(content, path) if path.suffix == ".gz" else content


def decompress(content: bytes, path: Path | str) -> bytes:
    """The bytes in a gzip stream.

    Raises:
        DataError: naming `path` if the stream is damaged or cut off.
    """
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{path} is damaged or cut off: {error}") from error


def read_verified(path: Path, sha256: str) -> Content:
    """What a file holds, when its digest is `sha256`.

    Raises:
        DataError: if the file cannot be read, is damaged, or holds something else, naming both digests.
    """
    content = read_content(path)
    check_digest(content, sha256, path)
    return content


def check_digest(content: Content, sha256: str, path: Path | str) -> None:
    """Raises `DataError` naming `path` and both digests unless the digest of `content` is `sha256`."""
    found = content_digest(content)
    if found != sha256:
        raise DataError(
            f"{path} does not hold what it should and is not used: the SHA-256 of its content is {found}, "
            f"expected {sha256}. Remove it and get it again."
        )
