"""Ctrl-C and SIGTERM as a request that the loop honours between dispatches."""

import signal
import threading
from types import FrameType, TracebackType


class StopRequest:
    """While active, the first Ctrl-C or SIGTERM sets `requested`; a second one interrupts at once.

    Attributes:
        requested: Whether to stop.
        signal: The signal that has asked for it.
    """

    def __init__(self, *, enabled: bool):
        self.requested = False
        self.signal = signal.SIGINT
        main = threading.current_thread() is threading.main_thread()
        self._signals = (signal.SIGINT, signal.SIGTERM) if enabled and main else ()
        self._previous = {}

    def __enter__(self) -> "StopRequest":
        self._previous = {number: signal.signal(number, self._note) for number in self._signals}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        self.signal = signal.Signals(number)
