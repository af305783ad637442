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
            interrupt(number, frame)
        self.requested = True
        self.signal = signal.Signals(number)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Raises `KeyboardInterrupt`, as Python does by itself, but where it is not lost.

    JAX has Python call it after each garbage collection, and a signal that comes during one is handled there,
    where an exception is printed and ignored. Imports collect much garbage: every second Ctrl-C was lost.
    """
    if frame is not None and frame.f_code.co_name == "_xla_gc_callback":
        threading.Timer(0.02, signal.raise_signal, [number]).start()
        return
    raise KeyboardInterrupt
