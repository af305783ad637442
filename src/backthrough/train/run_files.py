"""What `fit` reads from and writes into a run directory."""

import json
from collections.abc import Mapping
from typing import Any

from backthrough.core import ArgumentError, PyTree, RunError
from backthrough.train.checkpoints import (
    Checkpoint,
    load_checkpoint,
    load_newest,
    manifest_path,
    save_checkpoint,
    share_checkpoint,
)
from backthrough.train.metrics import read_metrics
from backthrough.train.processes import Group
from backthrough.train.run import Run


class RunFiles:
    """The metrics and checkpoints of a run.

    Args:
        run: The run directory.
        identity: JSON values that a resumed fit must share with the one that it continues.
        group: The processes of the training; the first one's checkpoints are those of all.
    """

    def __init__(self, run: Run, identity: Mapping[str, Any], group: Group):
        self._run = run
        self._group = group
        self._identity = dict(identity)

    def newest(self, like: PyTree) -> Checkpoint | None:
        """The newest whole checkpoint; the metrics go back to what they were when it was taken.

        Raises:
            ArgumentError: naming the first thing in which the fit differs from the one that saved it.
            CheckpointError: if the checkpoints cannot be used.
            RunError: if rows of the metrics have been lost.
        """
        found = self._newest_on_disk(like) if self._group.is_first else None
        return share_checkpoint(found, like, self._group)

    def best(self, like: PyTree, step: int) -> Checkpoint:
        """The checkpoint that was the best when the newest was taken.

        Raises:
            CheckpointError: if it cannot be used.
        """
        found = None
        if self._group.is_first:
            path = manifest_path(self._run.checkpoints, step)
            found = load_checkpoint(path, like, config_hash=self._run.config_hash)
        shared = share_checkpoint(found, like, self._group)
        assert shared is not None
        return shared

    def _newest_on_disk(self, like: PyTree) -> Checkpoint | None:
        found = load_newest(self._run.checkpoints, like, config_hash=self._run.config_hash)
        if found is not None:
            before = found.records["identity"]
            for name in dict.fromkeys([*before, *self._identity]):
                if before.get(name) != self._identity.get(name):
                    raise ArgumentError(
                        f"cannot go on with {self._run.path}: its {name} was {before.get(name)!r} and is now "
                        f"{self._identity.get(name)!r}"
                    )
        self._run.metrics.go_back_to(found.records["metrics"] if found is not None else None)
        return found

    def append(self, rows: list[dict[str, Any]]) -> None:
        """Appends rows of metrics."""
        try:
            self._run.metrics.append(rows)
        except OSError as error:
            raise self._cannot_write(error) from error

    def append_speed(self, row: Mapping[str, Any]) -> None:
        """Appends a row about speed, which no resume takes back: it is a diary, not a result."""
        try:
            with open(self._run.path / "speed.jsonl", "a") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise self._cannot_write(error) from error

    def save(self, done: int, arrays: PyTree, *, keep: int, spare: int | None, **records: Any) -> None:
        """Saves a checkpoint after `done` steps."""
        if not self._group.is_first:
            return
        try:
            save_checkpoint(
                self._run.checkpoints,
                done,
                arrays,
                config_hash=self._run.config_hash,
                records={"identity": self._identity, "metrics": self._run.metrics.mark(), **records},
                keep=keep,
                spare=spare,
            )
        except OSError as error:
            raise self._cannot_write(error) from error

    def rows(self) -> list[dict[str, Any]]:
        """All rows of the run."""
        path = self._run.metrics.path
        return read_metrics(path) if path.exists() else []

    def _cannot_write(self, error: OSError) -> RunError:
        return RunError(
            f"cannot write in {self._run.path}: {error.strerror}. The checkpoints saved before are whole; "
            "mend the cause and resume."
        )
