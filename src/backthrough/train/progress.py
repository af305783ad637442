"""Progress on standard error: a bar in a terminal, a plain line now and then elsewhere."""

import datetime
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
from rich.progress_bar import ProgressBar as Bar
from rich.text import Text

SECONDS_BETWEEN_LINES = 30.0
BAR_WIDTH = 24  # where there is room
TIME_WIDTH = 8
LEAST_REST = 8  # fewer characters of speed and metrics say nothing


class ProgressBar:
    """Shows steps done, time left, speed and the latest metrics.

    In a narrow terminal the metrics are cut first; bar, count and time left always stay. Where standard error
    is no terminal, a line is written every 30 seconds, and none for a shorter job.
    """

    def __init__(self, label: str, total: int, done: int = 0):
        console = Console(stderr=True)
        self._label, self._total, self._first = label, total, done
        self._is_plain = not console.is_terminal
        self._started = self._last_line = time.monotonic()
        self._bar = Progress(
            _Label(console),
            _Bar(console),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            _Rest(console),
            console=console,
            disable=self._is_plain,
            refresh_per_second=5,
        )
        self._task = self._bar.add_task(label, total=total, completed=done, rest="")

    def update(
        self, done: int, steps_per_second: float | None = None, metrics: Mapping[str, Any] | None = None
    ) -> None:
        """Moves the bar to `done` steps."""
        latest = [f"{name} {np.median(value):.4g}" for name, value in list((metrics or {}).items())[:3]]
        if self._is_plain:
            self._write_line(done, latest)
            return
        speed = [] if steps_per_second is None else [f"{steps_per_second:,.0f} steps/s"]
        self._bar.update(self._task, completed=done, rest="  ".join([*speed, *latest]))

    def _write_line(self, done: int, latest: list[str]) -> None:
        now = time.monotonic()
        if now - self._last_line < SECONDS_BETWEEN_LINES:
            return
        self._last_line = now
        words = [f"{self._label}: step {done:,} of {self._total:,}"]
        if done > self._first:
            seconds = (now - self._started) / (done - self._first) * (self._total - done)
            words.append(f"{datetime.timedelta(seconds=round(seconds))} left")
        print(", ".join([*words, *latest[:1]]), file=sys.stderr, flush=True)

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


class _Widths(NamedTuple):
    """How the columns of the terminal are shared out, beside those of count and time."""

    label: int
    bar: int
    rest: int


class _Column(ProgressColumn):
    """A column that fits itself to the terminal."""

    def __init__(self, console: Console):
        super().__init__()
        self._console = console

    def widths(self, task: Task) -> _Widths:
        count = 2 * len(str(int(task.total or 0))) + 1
        free = max(2, self._console.width - count - TIME_WIDTH - 4)  # four gaps
        bar = min(BAR_WIDTH, free // 2)
        label = min(len(task.description), free - bar)
        return _Widths(label, bar, free - bar - label)


class _Label(_Column):
    def render(self, task: Task) -> Text:
        return _cut(task.description, self.widths(task).label)


class _Bar(_Column):
    def render(self, task: Task) -> Bar:
        return Bar(total=task.total, completed=task.completed, width=self.widths(task).bar)


class _Rest(_Column):
    """Speed and metrics, as far as there is room."""

    def render(self, task: Task) -> Text:
        room = self.widths(task).rest
        return _cut(task.fields["rest"], room if room >= LEAST_REST else 0)


def _cut(text: str, width: int) -> Text:
    return Text(text if len(text) <= width else text[: max(0, width - 1)] + "…" * min(width, 1), no_wrap=True)
