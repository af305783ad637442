"""What a directory may hold before a run opens it. Imports nothing heavy."""

from pathlib import Path

from backthrough.core import ArgumentError
from backthrough.core.files import TEMPORARY_PREFIX
from backthrough.train.lock import LOCK_NAME


def holds_a_run(path: Path, *, resume: bool) -> bool:
    """Whether there is a run to resume in a directory that exists; refuses what must not be touched.

    Raises:
        ArgumentError: if the directory is not empty and `resume` is false, or it holds something else.
    """
    names = {inside.name for inside in path.iterdir()} - {LOCK_NAME}
    if all(name.startswith(TEMPORARY_PREFIX) for name in names):
        return False
    if not resume:
        raise ArgumentError(
            f"run directory {path} is not empty: resume it (--resume, or resume=True) or choose another"
        )
    if "config.json" not in names:
        raise ArgumentError(f"{path} is not empty and holds no run (it has no config.json)")
    return True
