"""The cells of a user's own table as text, each with its line: for tables of more than numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from backthrough.core import ArgumentError, DataError
from backthrough.datasets.tables import _check_column, _check_header, _decode, _records, _sniff

MISSING = ("", "na", "nan", "null")


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
