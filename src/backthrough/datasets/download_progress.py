"""A progress bar for downloads, on standard error; silent when that is not a terminal."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn


class DownloadProgress:
    """Shows bytes and speed; has the attributes that pooch's downloader asks of a progress bar."""

    def __init__(self, label: str):
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task(label, total=None)

    @property
    def total(self) -> int | float | None:
        """Bytes to download; None while unknown."""
        return self._bar.tasks[0].total

    @total.setter
    def total(self, n_bytes: int) -> None:
        self._bar.update(self._task, total=n_bytes or None)

    def update(self, n_bytes: int) -> None:
        """Counts bytes that have arrived."""
        self._bar.update(self._task, advance=n_bytes)

    def reset(self) -> None:
        """Counts again from zero."""
        self._bar.update(self._task, completed=0)

    def close(self) -> None:
        """Called at the end of a download; the bar stays until the context is left."""

    def __enter__(self) -> "DownloadProgress":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()
