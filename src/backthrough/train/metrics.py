"""The metrics file of a run: one JSON object a line, and what is known of it in memory."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from backthrough.core import RunError


class MetricsFile:
    """Rows appended to `metrics.jsonl`; a checkpoint records its length and a resume cuts it there."""

    def __init__(self, path: Path):
        self.path = path

    def length(self) -> int:
        """Bytes in the file, after making them durable."""
        if not self.path.exists():
            return 0
        with open(self.path, "ab") as file:
            os.fsync(file.fileno())
            return file.tell()

    def cut(self, length: int) -> None:
        """Removes what was written after the file had this many bytes.

        Raises:
            RunError: if the file is shorter: rows that the checkpoint relies on have been lost.
        """
        present = self.path.stat().st_size if self.path.exists() else 0
        if present < length:
            raise RunError(
                f"{self.path} has {present} bytes and its checkpoint was taken at {length}: rows are lost. "
                "Restore the file or start a new run directory."
            )
        if present > length:
            os.truncate(self.path, length)

    def append(self, rows: list[dict[str, Any]]) -> None:
        """Appends rows, flushed to the operating system; if that fails, none of them stays."""
        if not rows:
            return
        with open(self.path, "ab", buffering=0) as file:
            length = file.tell()
            content = "".join(json.dumps(row) + "\n" for row in rows).encode()
            try:
                while content:
                    content = content[file.write(content) :]
            except OSError:
                file.truncate(length)
                raise


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All rows of a run's `metrics.jsonl`.

    Raises:
        RunError: naming the line that is not a whole JSON object.
    """
    rows = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            raise RunError(f"{path} line {number} is not a JSON object") from error
    return rows


class WindowMean:
    """Means of per-step metrics over consecutive windows of `every` steps."""

    def __init__(self, every: int, sums: Mapping[str, float] | None = None):
        self.every = every
        self.sums = dict(sums or {})

    def add(self, first_step: int, values: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
        """Takes the metrics of consecutive steps and returns the rows of the windows they complete.

        Args:
            first_step: Zero-based step of the first value.
            values: For each metric, one value a step.
        """
        rows = []
        count = len(next(iter(values.values())))
        names = {name: series.astype(np.float64).tolist() for name, series in values.items()}
        for offset in range(count):
            done = first_step + offset + 1
            for name, series in names.items():
                self.sums[name] = self.sums.get(name, 0.0) + series[offset]
            if done % self.every == 0:
                row = {name: total / self.every for name, total in self.sums.items()}
                rows.append({"step": done, **row})
                self.sums = {}
        return rows
