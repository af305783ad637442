"""The metrics file of a run: one JSON object a line, and what is known of it in memory."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from backthrough.core import RunError
from backthrough.core.files import sync_folder


class MetricsFile:
    """Rows appended to `metrics.jsonl`; a checkpoint records what it holds and a resume goes back to that."""

    def __init__(self, path: Path):
        self.path = path
        self._digest = hashlib.sha256()

    def mark(self) -> dict[str, Any]:
        """Length and digest of the file, after making it durable."""
        if not self.path.exists():
            return {"bytes": 0, "sha256": self._digest.hexdigest()}
        with open(self.path, "ab") as file:
            os.fsync(file.fileno())
            return {"bytes": file.tell(), "sha256": self._digest.hexdigest()}

    def go_back_to(self, mark: Mapping[str, Any] | None) -> None:
        """Removes what was written after the mark was made; everything when there is none.

        Raises:
            RunError: if the rows before the mark are no longer what they were.
        """
        length = mark["bytes"] if mark else 0
        content = self.path.read_bytes() if self.path.exists() else b""
        self._digest = hashlib.sha256(content[:length])
        if mark and self._digest.hexdigest() != mark["sha256"]:
            raise RunError(
                f"{self.path} has lost or changed rows since its checkpoint was taken. Restore the file or "
                "start a new run directory."
            )
        if len(content) > length:
            os.truncate(self.path, length)

    def append(self, rows: list[dict[str, Any]]) -> None:
        """Appends rows, flushed to the operating system; if that fails, none of them stays."""
        if not rows:
            return
        with open(self.path, "ab", buffering=0) as file:
            length = file.tell()
            content = "".join(json.dumps(row) + "\n" for row in rows).encode()
            try:
                written = 0
                while written < len(content):
                    written += file.write(content[written:])
            except OSError:
                file.truncate(length)
                raise
            self._digest.update(content)
        if length == 0:
            sync_folder(self.path.parent)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All rows of a run's `metrics.jsonl`.

    Raises:
        RunError: naming the line that is not a whole JSON object.
    """
    rows = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise RunError(f"{path} line {number} is not a JSON object") from error
        if not isinstance(row, dict) or "step" not in row:
            raise RunError(f"{path} line {number} is not an object with a step")
        rows.append(row)
    return rows


class WindowMean:
    """Means of per-step metrics over consecutive windows of `every` steps; the last may be shorter.

    Args:
        every: Steps in a window.
        last: The step that ends the last window.
        sums: What an interrupted window has summed up: for each metric a number, or one a copy.
    """

    def __init__(self, every: int, last: int, sums: Mapping[str, Any] | None = None):
        self.every = every
        self.last = last
        self.sums = dict(sums or {})

    def add(self, first_step: int, values: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
        """Takes the metrics of consecutive steps and returns the rows of the windows they complete.

        Args:
            first_step: Zero-based step of the first value.
            values: For each metric, one value a step.
        """
        rows = []
        n_steps = len(next(iter(values.values())))
        names = {name: series.astype(np.float64) for name, series in values.items()}
        for offset in range(n_steps):
            done = first_step + offset + 1
            for name, series in names.items():
                self.sums[name] = np.add(self.sums.get(name, 0.0), series[offset]).tolist()
            if done % self.every == 0 or done == self.last:
                count = done % self.every or self.every
                row = {name: np.divide(total, count).tolist() for name, total in self.sums.items()}
                rows.append({"step": done, **row})
                self.sums = {}
        return rows
