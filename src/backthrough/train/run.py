"""A run directory: everything about one run, in files that a person can read."""

import dataclasses
import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from backthrough.core import ArgumentError, RunError, check_choice
from backthrough.core.files import write_atomically
from backthrough.train.directory import holds_a_run
from backthrough.train.environment import describe_environment
from backthrough.train.figures import Figures
from backthrough.train.lock import LOCK_NAME, DirectoryLock
from backthrough.train.metrics import MetricsFile
from backthrough.train.processes import current_group
from backthrough.train.result import Headline, Number, ResultTable


class Run:
    """A directory that holds one run.

        config.json       what was asked for
        environment.json  versions, devices, host and times, one entry for each start
        metrics.jsonl     one row a line: step and values
        speed.jsonl       one row a line: step, seconds since the start and steps a second; not reproducible
        checkpoints/      states to resume from
        figures/          pictures, with their captions in figures.json
        result.json       the numbers; only what is reproducible

    With several processes (see `join`) the first one has the directory; the others write into a folder of
    their own that is removed when the run is.

    Args:
        path: The directory; made, with its parents, if missing.
        config: A dataclass or a mapping of JSON values. A resumed run must have the same one.
        resume: Go on in a directory that already holds a run. Also fine when nothing is saved yet.
        shards: What `fit` takes as `shards` when it is given this run.
        devices: What `fit` takes as `devices`.

    Attributes:
        path: The directory, absolute.
        is_resumed: Whether it held a run already, which this one goes on with.

    Raises:
        ArgumentError: if the directory is not empty and `resume` is false, if it holds something else than a
            run, or if the configuration differs (naming the field) from before or between processes.
        RunError: if the directory cannot be written, is in use by another process, or has damaged files.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        config: Any = None,
        resume: bool = False,
        shards: int | None = None,
        devices: int | None = None,
    ):
        self.shards, self.devices = shards, devices
        self.path = Path(path).absolute()
        self.config = _plain({} if config is None else config)
        if not isinstance(self.config, dict):
            raise ArgumentError(f"config must be a dataclass or a mapping, got {config!r}")
        group = current_group()
        group.check_agreement("configuration", self.config)
        if not group.is_first:
            self._scratch = tempfile.TemporaryDirectory(prefix="backthrough-")
            self.path = Path(self._scratch.name)
        self._claimed = False
        self.config_hash = hash_config(self.config)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.is_resumed = holds_a_run(self.path, resume=resume)
            self._lock = DirectoryLock(self.path)
            if self.is_resumed:
                self._check_same_config()
            else:
                self._write_json("config.json", self.config)
            self._note_environment()
        except OSError as error:
            raise RunError(f"cannot write a run in {self.path}: {error.strerror}") from error
        self.metrics = MetricsFile(self.path / "metrics.jsonl")
        self.checkpoints = self.path / "checkpoints"
        self.figures = Figures(self.path / "figures")

    def claim(self) -> None:
        """Marks the run as taken by a `fit`: its files hold one training.

        Raises:
            ArgumentError: if a `fit` has taken it before.
        """
        if self._claimed:
            raise ArgumentError(
                f"{self!r} has been given to fit before; open it again with Run(path, resume=True) to go "
                "on, or use another directory for another training"
            )
        self._claimed = True

    def save_result(
        self,
        numbers: Sequence[Number],
        *,
        headline: Headline | None = None,
        tables: Sequence[ResultTable] = (),
    ) -> None:
        """Writes `result.json`. Only reproducible values belong there: no times, no hosts.

        Args:
            numbers: With different names.
            headline: What a reader should see first; it names one of the numbers and one of the figures.
            tables: What else the page should show.

        Raises:
            ArgumentError: if two numbers share a name, or the headline names what is not there.
        """
        names = [number.name for number in numbers]
        if len(set(names)) < len(names):
            raise ArgumentError(f"the numbers of a run need different names, got {names}")
        result: dict[str, Any] = {"numbers": [_plain(number) for number in numbers]}
        if headline is not None:
            check_choice("number of the headline", headline.number, names)
            if headline.picture:
                check_choice("picture of the headline", headline.picture, self.figures.captions())
            result = {"headline": _plain(headline), **result}
        if tables:
            result["tables"] = [_plain(table) for table in tables]
        self._write_json("result.json", result)

    def remove_if_unused(self) -> None:
        """Removes the directory if it holds nothing but its configuration, as after a wrong option."""
        names = {path.name for path in self.path.iterdir()}
        if names <= {"config.json", "environment.json", LOCK_NAME}:
            for name in names:
                (self.path / name).unlink()
            self.path.rmdir()

    def _check_same_config(self) -> None:
        saved = _read_json(self.path / "config.json", dict)
        for name in dict.fromkeys([*saved, *self.config]):
            before, now = saved.get(name, "absent"), self.config.get(name, "absent")
            if before != now:
                raise ArgumentError(
                    f"cannot resume {self.path} with another configuration: {name} was {before!r} "
                    f"and is now {now!r}"
                )

    def _note_environment(self) -> None:
        file = self.path / "environment.json"
        entries = _read_json(file, list) if file.exists() else []
        self._write_json("environment.json", [*entries, describe_environment()])

    def _write_json(self, name: str, value: Any) -> None:
        write_atomically(self.path / name, (json.dumps(value, indent=1) + "\n").encode())

    def __repr__(self) -> str:
        return f"Run({os.fspath(self.path)!r})"


def read_config(path: str | Path) -> dict[str, Any]:
    """The configuration of the run in the directory `path`.

    Raises:
        RunError: if there is no run there.
    """
    file = Path(path) / "config.json"
    if not file.exists():
        raise RunError(f"{path} holds no run (it has no config.json)")
    return _read_json(file, dict)


def hash_config(config: Any) -> str:
    """Identifies a configuration in the checkpoints that are written under it."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def _plain(value: Any, name: str = "") -> Any:
    """The value as JSON values: dataclasses become objects, tuples lists, NumPy scalars numbers.

    Raises:
        ArgumentError: naming the entry that cannot be one.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    try:
        return json.loads(json.dumps(value, default=_plain_leaf, allow_nan=False))
    except (TypeError, ValueError) as error:
        for key, own in value.items() if isinstance(value, dict) else ():
            _plain(own, str(key))
        raise ArgumentError(f"{name} cannot be written as JSON: {error}".strip()) from error


def _plain_leaf(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, np.generic) or getattr(value, "ndim", None) == 0:
        return value.item()
    raise TypeError(f"{value!r} is no JSON value")


def _read_json(file: Path, kind: type) -> Any:
    try:
        value = json.loads(file.read_bytes())
    except ValueError as error:
        raise RunError(f"{file} is not JSON; restore it or start a new run directory") from error
    if not isinstance(value, kind):
        raise RunError(f"{file} is damaged: it holds no {kind.__name__}; restore it or start anew")
    return value
