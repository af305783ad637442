"""A user's own table from a CSV file, checked cell by cell."""

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from backthrough.core import ArgumentError, DataError, check_choice
from backthrough.datasets.arrays import NPY_MAGIC, ZIP_MAGICS
from backthrough.datasets.contents import Table

DELIMITERS = (",", ";", "\t")


def read_table(path: str | Path, *, target: str, delimiter: str | None = None) -> Table:
    r"""Reads a table of numbers from a CSV file with a header line.

    The file is UTF-8, with or without a byte-order mark, with any line endings; cells may be quoted. Blank
    lines at the end are ignored. Nothing else is: a cell that is not a finite number is an error.

    Args:
        path: The file.
        target: The column to predict; all others become features, in the file's order.
        delimiter: What separates the cells; by default the one of comma, semicolon and tab that splits the
            header into most columns.

    Returns:
        The features, the target and their names.

    Raises:
        ArgumentError: if there is no column `target` (with the nearest name) or `delimiter` cannot be
            one.
        DataError: naming the file, the line and the column of what cannot be used.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "houses.csv"
        >>> _ = path.write_text("rooms,area,price\n3,80,200\n2,55,150\n")
        >>> table = read_table(path, target="price")
        >>> table.feature_names, table.y
        (('rooms', 'area'), array([200., 150.]))
    """
    path = Path(path)
    names, values = _read(path, delimiter, (target,), "target column")
    if len(names) == 1:
        raise DataError(f"{path} has no column besides the target {target!r}")
    column = names.index(target)
    x, y = np.delete(values, column, axis=1), values[:, column].copy()
    for array in (x, y):
        array.setflags(write=False)
    return Table(
        x,
        y,
        feature_names=tuple(name for name in names if name != target),
        target_name=target,
        source=str(path),
    )


def read_columns(
    path: str | Path, *, columns: Sequence[str] = (), delimiter: str | None = None
) -> tuple[tuple[str, ...], Float[np.ndarray, "row column"]]:
    r"""Reads columns of numbers from a CSV file with a header line, under the rules of `read_table`.

    Args:
        path: The file.
        columns: The columns wanted, in this order, all of them when none is named. Others may hold anything.
        delimiter: As for `read_table`.

    Returns:
        Their names and their values.

    Raises:
        ArgumentError: if a column is missing (with the nearest name) or named twice.
        DataError: naming the file, the line and the column of what cannot be used.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "points.csv"
        >>> _ = path.write_text("x,y,z\n3,80,1\n2,55,4\n")
        >>> read_columns(path, columns=["z", "x"])[1].tolist()
        [[1.0, 3.0], [4.0, 2.0]]
    """
    path = Path(path)
    if len(set(columns)) < len(columns):
        raise ArgumentError(f"columns must differ from each other, got {', '.join(columns)}")
    return _read(path, delimiter, columns, "column", only=columns)


def _read(
    path: Path, delimiter: str | None, wanted: Sequence[str], role: str, *, only: Sequence[str] = ()
) -> tuple[tuple[str, ...], Float[np.ndarray, "row column"]]:
    """The columns `only`, or all of them, when those that are wanted are among them."""
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
        raise ArgumentError(f"delimiter must be one character, no quote or line end, got {delimiter!r}")
    text = _decode(path)
    records = _records(path, text, delimiter or _sniff(text))
    _, header = next(records)
    names = _check_header(path, header)
    for name in wanted:
        _check_column(path, name, names, role)
    if not wanted:
        check_names(path, names)
    kept = only or names
    rows = [_numbers(path, line, cells, names, kept) for line, cells in records]
    if not rows:
        raise DataError(f"{path} has a header line and no rows")
    return tuple(kept), np.array(rows, dtype=np.float64)


def _decode(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    if content.startswith((NPY_MAGIC, *ZIP_MAGICS)):
        what = "NumPy array" if content.startswith(NPY_MAGIC) else "zip file (such as .npz or .xlsx)"
        raise DataError(f"{path} is a {what}, and a table in CSV is needed: save it as one")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path} is not UTF-8: byte 0x{content[error.start]:02x} at position {error.start} (line {line}) "
            "cannot be decoded; save the file as UTF-8"
        ) from error
    if not text.strip():
        raise DataError(f"{path} is empty")
    return text.rstrip("\r\n")


def _sniff(text: str) -> str:
    unquoted = re.sub(r'"[^"]*"', "", text).split("\n", 1)[0]
    return max(DELIMITERS, key=unquoted.count)


def _records(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Each record with the number of the line it starts on, cells without surrounding blanks."""
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=delimiter != " ", strict=True
    )
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(f"{path} line {line} is not well-formed CSV: {error}") from error
        if not cells:
            raise DataError(f"{path} line {line} is blank; only lines after the last row may be")
        yield line, [cell.strip() for cell in cells]


def _check_header(path: Path, header: list[str]) -> list[str]:
    for number, name in enumerate(header, start=1):
        if not name:
            raise DataError(f"{path} line 1: column {number} has no name")
        if header.index(name) < number - 1:
            raise DataError(f"{path} line 1: column name {name!r} occurs twice")
    return header


def check_names(path: Path | str, names: Sequence[str]) -> None:
    """Refuses a first line of numbers only, which is a row and not a header."""
    if all(_is_number(name) for name in names):
        raise DataError(
            f"{path} line 1 holds only numbers ({', '.join(names[:4])}...); it must hold the column names"
        )


def _check_column(path: Path, wanted: str, names: list[str], role: str) -> None:
    if wanted not in names:
        check_names(path, names)
    check_choice(f"{role} of {path}", wanted, names)


def _numbers(path: Path, line: int, cells: list[str], names: list[str], kept: Sequence[str]) -> list[float]:
    if len(cells) != len(names):
        raise DataError(f"{path} line {line} has {len(cells)} cells, but the header has {len(names)} columns")
    by_name = dict(zip(names, cells, strict=True))
    return [_number(f"{path} line {line}, column {name!r}", by_name[name]) for name in kept]


def _number(place: str, cell: str) -> float:
    if not cell:
        raise DataError(f"{place} is blank: a missing value must be filled in, or its row removed")
    if not _is_number(cell):
        comma = cell.count(",") == 1 and _is_number(cell.replace(",", "."))
        hint = "; numbers are written with a decimal point and without commas" if comma else ""
        raise DataError(f"{place} is not a number: {cell!r}{hint}")
    number = float(cell)
    if not math.isfinite(number):
        raise DataError(f"{place} is not finite: {cell!r}")
    return number


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell
