"""A progress bar on standard error; silent when that is not a terminal."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)


class ProgressBar:
    """Shows steps done, speed, time left and the latest metrics."""

    def __init__(self, label: str, total: int, done: int = 0):
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[metrics]}"),
            console=console,
            disable=not console.is_terminal,
            refresh_per_second=5,
        )
        self._task = self._bar.add_task(label, total=total, completed=done, speed="", metrics="")

    def update(
        self, done: int, steps_per_second: float | None = None, metrics: Mapping[str, Any] | None = None
    ) -> None:
        """Moves the bar to `done` steps."""
        self._bar.update(
            self._task,
            completed=done,
            speed="" if steps_per_second is None else f"{steps_per_second:,.0f} steps/s",
            metrics="  ".join(
                f"{name} {np.median(value):.4g}" for name, value in list((metrics or {}).items())[:3]
            ),
        )

    def __enter__(self) -> "ProgressBar":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()
