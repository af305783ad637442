"""What the commands on a user's own tables share: the table, and a model that is there for new rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from backthrough.core import ArgumentError

FILE = tyro.conf.arg(metavar="FILE")


@dataclass(frozen=True)
class NewRows:
    """A trained model, and the new rows that it is for."""

    model: Annotated[Path | None, FILE] = None
    """A model.npz of an earlier run; nothing is trained."""
    predict: Annotated[Path | None, FILE] = None
    """A CSV file of new rows."""
    out: Annotated[Path | None, FILE] = None
    """Where the answer goes; by default beside --predict, its name with the command's behind it."""

    @property
    def is_asked_for(self) -> bool:
        """Whether there is a model to use, rather than one to train."""
        return any(value is not None for value in (self.model, self.predict, self.out))

    def paths(self, command: str, table: Path | None) -> tuple[Path, Path, Path]:
        """Model, new rows and answer.

        Raises:
            ArgumentError: if one is missing or not there, or there is a table to train on too.
        """
        if self.model is None or self.predict is None or table is not None:
            raise ArgumentError(
                f"new rows need a model and no table to train on: backthrough {command} "
                "--model RUN/model.npz --predict NEW.csv"
            )
        if not self.model.is_file():
            raise ArgumentError(f"there is no file {str(self.model)!r} (--model)")
        return self.model, self.predict, self.answer(command)

    def answer(self, command: str) -> Path:
        """Where the answer for the new rows goes.

        Raises:
            ArgumentError: if there are no new rows, or the answer would take their place or has none.
        """
        if self.predict is None or not self.predict.is_file():
            raise ArgumentError(f"there is no file {str(self.predict)!r} (--predict)")
        if self.out is not None and self.out.absolute() == self.predict.absolute():
            raise ArgumentError(f"--out must be another file than --predict, which would be lost: {self.out}")
        if self.out is not None and not self.out.absolute().parent.is_dir():
            raise ArgumentError(f"there is no folder {str(self.out.absolute().parent)!r} (--out)")
        return self.out or self.predict.with_name(f"{self.predict.stem}-{command}.csv")


def existing_table(table: Path | None, saved: Mapping[str, Any], command: str) -> Path:
    """The absolute path of the user's table, or of the one that the resumed run was started with.

    Raises:
        ArgumentError: if none is named, or it is not there.
    """
    if table is None and "data" in saved:
        table = Path(saved["data"])
    if table is None:
        raise ArgumentError(f"{command} needs a table: backthrough {command} TABLE.csv (all of it: --help)")
    if not table.is_file():
        raise ArgumentError(f"there is no file {str(table)!r}")
    return table.expanduser().absolute()
