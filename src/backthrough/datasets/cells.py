"""The cells of a user's own table as text, each with its line: for tables of more than numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from backthrough.core import ArgumentError, DataError
from backthrough.datasets.tables import (
    _check_column,
    _check_header,
    _decode,
    _is_number,
    _records,
    _sniff,
)

MISSING = ("", "na", "nan", "null")
MOSTLY = 0.5  # part of the cells that are numbers, from which on the others are mistakes


@dataclass(frozen=True)
class Cells:
    """A table of text.

    Attributes:
        names: Its columns.
        columns: The cells of each, without surrounding blanks.
        lines: The line of the file that each row starts on.
        source: The file.
    """

    names: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]
    source: str

    def texts(self, name: str) -> list[str | None]:
        """The cells of a column; None where one is missing: blank, NA, NaN or null."""
        return [None if cell.lower() in MISSING else cell for cell in self.columns[self.names.index(name)]]

    def numbers(self, name: str) -> Float[np.ndarray, "row"] | None:
        """The numbers of a column, NaN where a cell is missing; None for a column of text.

        Raises:
            DataError: naming file, line and column of a number that is not finite or has commas, or of text
                where most cells are numbers.
        """
        texts = self.texts(name)
        others = [row for row, cell in enumerate(texts) if cell is not None and not _is_number(cell)]
        if others:
            cells = [str(texts[row]) for row in others]
            n_present = sum(cell is not None for cell in texts)
            place = (
                f"{self.source} line {self.lines[others[0]]}, column {name!r} is not a number: {cells[0]!r}"
            )
            if all(_is_number(cell.replace(",", "")) for cell in cells):
                raise DataError(f"{place}; numbers are written with a decimal point and without commas")
            if len(others) < MOSTLY * n_present:
                raise DataError(
                    f"{place}; mend it, leave it blank if it is missing, or name the column in categories "
                    f"({len(others):,} of {n_present:,} cells are no numbers)"
                )
            return None
        numbers = np.array([np.nan if cell is None else float(cell) for cell in texts])
        endless = np.isinf(numbers)
        if endless.any():
            row = int(np.argmax(endless))
            raise DataError(
                f"{self.source} line {self.lines[row]}, column {name!r} is not finite: {texts[row]!r}"
            )
        return numbers


def read_cells(path: str | Path, *, columns: Sequence[str] = (), delimiter: str | None = None) -> Cells:
    r"""Reads the cells of a CSV file with a header line: encoding, delimiter and lines as for `read_table`.

    Args:
        path: The file.
        columns: The columns wanted, in this order; all of them when none is named.
        delimiter: As for `read_table`.

    Raises:
        ArgumentError: if a column is missing (with the nearest name) or named twice.
        DataError: naming the file and the line of what cannot be read.

    Examples:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "houses.csv"
        >>> _ = path.write_text("street;rooms\n'Elm';3\nOak;\n")
        >>> read_cells(path).columns
        (("'Elm'", 'Oak'), ('3', ''))
    """
    path = Path(path)
    if len(set(columns)) < len(columns):
        raise ArgumentError(f"columns must differ from each other, got {', '.join(columns)}")
    text = _decode(path)
    records = _records(path, text, delimiter or _sniff(text))
    _, header = next(records)
    names = _check_header(path, header)
    for name in columns:
        _check_column(path, name, names, "column")
    kept = tuple(columns) or tuple(names)
    places = [names.index(name) for name in kept]
    lines, rows = [], []
    for line, cells in records:
        if len(cells) != len(names):
            raise DataError(
                f"{path} line {line} has {len(cells)} cells, but the header has {len(names)} columns"
            )
        lines.append(line)
        rows.append([cells[place] for place in places])
    if not rows:
        raise DataError(f"{path} has a header line and no rows")
    return Cells(kept, tuple(zip(*rows, strict=True)), tuple(lines), str(path))
