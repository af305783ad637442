"""A user's own function, named on the command line as MODULE:FUNCTION, and what its code raises."""

import contextlib
import importlib
import inspect
import re
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import backthrough
from backthrough.core import ArgumentError, BackthroughError, check_choice


def call_problem(name: str, returns: str, *, is_answer: Callable[[Any], bool] = lambda found: False) -> Any:
    """What the user's function returns; modules of the current folder are found.

    Args:
        name: MODULE:FUNCTION.
        returns: What it should return, for the message.
        is_answer: Whether what is named is already what it should return.

    Raises:
        ArgumentError: if there is no such module or function, or it needs arguments.
        BackthroughError: if the user's own code fails, naming where.
    """
    module_name, _, function_name = name.partition(":")
    if not module_name or not function_name:
        raise ArgumentError(f"name the problem as MODULE:FUNCTION, got {name!r}")
    if "" not in sys.path:
        sys.path.insert(0, "")
    with blaming_the_user():
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
                raise  # an import of theirs
            raise ArgumentError(f"cannot import {module_name!r}: {error}") from error
    known = [own for own, value in vars(module).items() if callable(value) or is_answer(value)]
    function = getattr(module, check_choice(f"function of {module_name}", function_name, known))
    if is_answer(function):
        return function
    needed = needed_arguments(function)
    if needed:
        raise ArgumentError(
            f"{name} must work without arguments and return {returns}, but it needs {', '.join(needed)}; "
            "name a function that calls it with them"
        )
    with blaming_the_user():
        return function()


def needed_arguments(function: Any) -> list[str]:
    """The arguments without which it cannot be called."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # written in C, and says nothing
        return []
    return [
        own.name
        for own in parameters
        if own.default is own.empty and own.kind not in (own.VAR_POSITIONAL, own.VAR_KEYWORD)
    ]


@contextlib.contextmanager
def blaming_the_user() -> Iterator[None]:
    """Shows what the user's own code raises as theirs, with file and line."""
    try:
        yield
    except (ArgumentError, BackthroughError):
        raise
    except Exception as error:
        place = place_of(error)
        if place is not None:
            first = str(error).partition("\n")[0]
            raise BackthroughError(f"{place}: your code raised {type(error).__name__}: {first}") from error
        place, message = _called_back(error)
        if message is None:
            raise
        where = "" if place is None else f"{place}: your code raised "
        raise BackthroughError(where + message) from error


def place_of(error: BaseException) -> str | None:
    """File and line of the last code that is neither ours, nor Python's, nor a library's."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    return _last_of_theirs([(frame.filename, frame.lineno, frame.name) for frame in frames])


def _called_back(error: BaseException) -> tuple[str | None, str | None]:
    """Place and message of what a NumPy function raised, of which JAX keeps only the printed traceback."""
    text = str(error)
    frames = re.findall(r'File "(.+)", line (\d+), in (.+)', text)
    raised = re.findall(r"^([\w.]+(?:Error|Exception)): (.*)", text, re.MULTILINE)
    if not frames or not raised:
        return None, None
    kind, message = raised[-1]
    if kind.startswith("backthrough."):
        return None, message
    return _last_of_theirs(frames), f"{kind}: {message}"


def _last_of_theirs(frames: Sequence[tuple[str, Any, str]]) -> str | None:
    others = [Path(backthrough.__file__).parent, *map(Path, sysconfig.get_paths().values())]
    for name, line, function in reversed(frames):
        file = Path(name).absolute()
        if file.exists() and not any(file.is_relative_to(folder) for folder in others):
            return f"{name}:{line} in {function}"
    return None
