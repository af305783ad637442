"""Ratings from the files that people have."""

import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from backthrough.core import ArgumentError, DataError, check_choice

NAMES = {
    "user": ("user", "userid", "uid", "reviewerid", "customer", "customerid", "username"),
    "item": (
        "item",
        "itemid",
        "iid",
        "movieid",
        "movie",
        "film",
        "filmid",
        "bookid",
        "isbn",
        "productid",
        "asin",
        "title",
    ),
    "rating": ("rating", "stars", "score", "overall", "value"),
}
DELIMITERS = ("::", "\t", ";", "|", ",")
LEAST, MOST = 3, 4  # columns of a file without a header: user, item, rating and perhaps a time


def read_ratings(path: str | Path, *, columns: Sequence[str] | None = None) -> pd.DataFrame:
    r"""Reads ratings: MovieLens' `u.data` (tabs) and `ratings.dat` (`::`), or a CSV file with a header.

    Columns other than user, item and rating, such as times, are left out.

    Args:
        path: The file. Without a header, its columns are user, item, rating and perhaps a time.
        columns: Names of the columns of users, items and ratings; by default they are known by their names.

    Returns:
        Columns user, item and rating. Ids are whole numbers if all of them are, and words otherwise.

    Raises:
        ArgumentError: if a column is not there, or is not known by its name.
        DataError: naming file and line of what cannot be read.

    Examples:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "mine.csv"
        >>> _ = path.write_text("userId,movieId,rating,timestamp\n1,31,2.5,1260759144\n")
        >>> read_ratings(path).values.tolist()
        [[1.0, 31.0, 2.5]]
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            start = file.readline(1_000_000)
        text = start.decode("utf-8-sig").rstrip("\r\n")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text in UTF-8: ratings are read from tables of text") from error
    if not text.strip():
        raise DataError(f"{path} is empty")
    delimiter = next((own for own in DELIMITERS if own in text), None)
    if delimiter is None:
        raise DataError(f"{path} line 1 has one column: {text[:60]!r}; ratings have three at least")
    cells = [cell.strip().strip('"') for cell in text.split(delimiter)]
    has_header = not (LEAST <= len(cells) <= MOST and all(map(_is_number, cells[2:])))
    table = _cells(path, delimiter, has_header)
    if has_header:
        names = _columns(path, [str(name).strip() for name in table.columns], columns)
        table.columns = [str(name).strip() for name in table.columns]
        table = table[list(names)]
    elif columns is not None:
        raise ArgumentError(f"{path} has no header, so that its columns have no names: leave columns out")
    else:
        table = table.iloc[:, :3]
    first_line = 2 if has_header else 1
    found = {}
    for side, name in zip(("user", "item"), table.columns, strict=False):
        ids = pd.Series(table[name]).str.strip()
        blank = ids == ""
        if blank.any():
            raise DataError(f"{path} line {first_line + int(blank.argmax())} has no {side}")
        is_whole = ids.str.fullmatch(r"-?\d{1,18}").all()
        found[side] = ids.astype("int64") if is_whole else ids
    ratings = np.asarray(pd.to_numeric(table.iloc[:, 2], errors="coerce"), np.float64)
    if np.isnan(ratings).any():
        row = int(np.argmax(np.isnan(ratings)))
        raise DataError(f"{path} line {first_line + row}: the rating is no number: {table.iloc[row, 2]!r}")
    return pd.DataFrame({**found, "rating": ratings})


def _cells(path: Path, delimiter: str, has_header: bool) -> pd.DataFrame:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file, warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # of rows that are longer than the header
            return pd.read_csv(
                file,
                sep=re.escape(delimiter) if len(delimiter) > 1 else delimiter,
                engine="python" if len(delimiter) > 1 else "c",
                header=0 if has_header else None,
                index_col=False,
                dtype=str,
                keep_default_na=False,
                skip_blank_lines=False,
            )
    except pd.errors.ParserWarning as error:
        raise DataError(f"{path} is no table, some rows have more cells than the header: {error}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text in UTF-8: {error}") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{path} is no table: {error}") from error


def _columns(path: Path, there: list[str], wanted: Sequence[str] | None) -> list[str]:
    if wanted is not None:
        if isinstance(wanted, str) or len(wanted) != 3:
            raise ArgumentError(f"columns must be the names of users, items and ratings, got {wanted!r}")
        return [check_choice(f"column of {path}", name, there) for name in wanted]
    plain = {re.sub(r"[^a-z]", "", name.lower()): name for name in reversed(there)}
    found = []
    for side, names in NAMES.items():
        known = [plain[name] for name in names if name in plain]
        if not known:
            raise ArgumentError(
                f"no column of {path} looks like that of the {side}s among {', '.join(there[:8])}: name the "
                "three by columns (--columns USER ITEM RATING on the command line)"
            )
        found.append(known[0])
    return found


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
