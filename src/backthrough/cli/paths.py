"""Where runs go when the user names no place."""

import time
from pathlib import Path


def fresh_directory(name: str) -> Path:
    """A path under `runs/` that does not exist yet: the name and the time."""
    path = Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    while path.exists():
        path = path.with_name(f"{path.name}x")
    return path
