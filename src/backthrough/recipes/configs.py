"""What the `Config`s of recipes share: data that the user names, and options that a run was started with."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from backthrough.core import ArgumentError


@dataclasses.dataclass(frozen=True)
class Panel:
    """What the demo shows of a recipe.

    Attributes:
        config: The configuration, at most 20 seconds.
        method: Name of the method, for a reader who does not know the recipe's.
        what: A sentence on what the method does.
    """

    config: Any
    method: str
    what: str


MARK = "a data set's name, or a path"
Source = Annotated[str, MARK]
"""The type of a field that names a data set, or a file or folder of the user's."""


def settle_sources(config: Any) -> Any:
    """The configuration with its `Source` fields absolute where they name a file or folder that is there.

    So a run can be resumed from another folder.

    Raises:
        ArgumentError: for what looks like a path and is not there.
    """
    fields = dataclasses.fields(config)
    sources = [field.name for field in fields if MARK in getattr(field.type, "__metadata__", ())]
    return dataclasses.replace(config, **{name: _settle(getattr(config, name)) for name in sources})


def with_saved(config: Any, saved: Mapping[str, Any]) -> Any:
    """The configuration with the values that a run's `config.json` holds of its fields."""
    names = [field.name for field in dataclasses.fields(config) if field.name in saved]
    return dataclasses.replace(config, **{name: _tuples(saved[name]) for name in names})


def _settle(source: str) -> str:
    path = Path(source).expanduser()
    if path.exists():
        return str(path.absolute())
    if path.suffix or "/" in source:
        raise ArgumentError(f"there is no file or folder {source!r}")
    return source


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
