"""The errors that users meet. Each message names the thing and the cure."""

from signal import SIGINT
from typing import Any


class BackthroughError(Exception):
    """Something went wrong while running; the base of all errors below but `ArgumentError`."""


class ArgumentError(ValueError):
    """What was asked for cannot be done as it was asked: a wrong argument, option or name."""


class DataError(BackthroughError, ValueError):
    """Data that cannot be used: names the file, the record or row, and the column."""


class DivergenceError(BackthroughError, ArithmeticError):
    """A quantity became NaN or infinite in a run.

    Attributes:
        step: The zero-based step at which it was first seen.
        quantity: Which metric (or `"state"`).
        state: The last good state.
    """

    def __init__(self, message: str, *, step: int, quantity: str, state: Any):
        super().__init__(message)
        self.step = step
        self.quantity = quantity
        self.state = state


class CheckpointError(BackthroughError):
    """A checkpoint that cannot be read or does not belong to this run."""


class DamagedCheckpointError(CheckpointError):
    """A checkpoint whose bytes are not those that were written: flipped, cut off or missing."""


class RunError(BackthroughError):
    """A run directory that cannot be used."""


class Interrupted(BackthroughError):
    """The run was asked to stop; its state is saved and it can be resumed.

    Attributes:
        signal: The signal that asked, SIGINT (Ctrl-C) or SIGTERM.
    """

    def __init__(self, message: str, *, signal: int = SIGINT):
        super().__init__(message)
        self.signal = int(signal)
