"""Writes that either happen whole or not at all, also when the machine stops half-way."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

TEMPORARY_PREFIX = ".tmp-"


def write_atomically(path: Path, content: bytes | memoryview | Callable[[BinaryIO], object]) -> None:
    """Replaces `path` by `content` (bytes, or a function that writes them to an open file).

    The bytes go to a temporary file beside it, which is synced and renamed; then the folder is synced.
    A reader sees the old file or the new one, never a part.
    """
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{path.name}")
    try:
        with open(temporary, "wb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes renames in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
