"""One process at a time in a run directory."""

import fcntl
import json
import os
import socket
import time
import weakref
from pathlib import Path

from backthrough.core import RunError

LOCK_NAME = "lock"


class DirectoryLock:
    """Held as long as the object lives; the operating system frees it when the process ends, however it ends.

    Several locks of one directory in one process are one lock.

    Raises:
        RunError: if another process holds it, naming that process.
    """

    def __init__(self, folder: Path):
        path = folder.resolve() / LOCK_NAME
        held = _HELD.get(path)
        if held is None:
            held = _HELD[path] = _Held(path)
        self._held = held


class _Held:
    """An open and locked lock file that names its holder."""

    def __init__(self, path: Path):
        self._file = open(path, "a+")  # noqa: SIM115 - kept open: closing it frees the lock
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            holder = self._file.read().strip()
            self._file.close()
            raise RunError(f"{path.parent} is in use by another process: {holder}") from None
        holder = {"process": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%F %T")}
        self._file.truncate(0)
        self._file.write(json.dumps(holder))
        self._file.flush()

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()


_HELD: weakref.WeakValueDictionary[Path, _Held] = weakref.WeakValueDictionary()
