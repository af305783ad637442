"""Downloads, placed in the cache only when they hold exactly what they should."""

import gzip
import os
import tempfile
from pathlib import Path

import pooch

from backthrough.core import DataError
from backthrough.datasets.download_progress import DownloadProgress
from backthrough.datasets.entry import DataFile, Entry
from backthrough.datasets.files import GZIP_MAGIC, check_digest, decompress, read_verified
from backthrough.datasets.locate import cache_folder, find_file, locate
from backthrough.datasets.registry import find_entry

CHUNK_BYTES = 1 << 16


def fetch(name: str) -> tuple[Path, ...]:
    """Makes sure that the files of a data set are at hand, downloading those that are not.

    A file already found is verified and kept; a download is verified and then moved into the cache in one
    step, so an interrupted one leaves nothing behind.

    Args:
        name: One of `dataset_names()`.

    Returns:
        The paths of its files.

    Raises:
        ArgumentError: if there is no such data set.
        DataError: if the files have no public address (saying what to do by hand), cannot be downloaded or
            written, or do not hold what they should.
    """
    return fetch_entry(find_entry(name))


def fetch_entry(entry: Entry) -> tuple[Path, ...]:
    """Makes sure that the files of `entry` are at hand; see `fetch`."""
    if not entry.fetchable:
        locate(entry)
    paths = [find_file(entry, file) for file in entry.files]
    return tuple(
        _verified(path, file) if path is not None else _download(file)
        for path, file in zip(paths, entry.files, strict=True)
    )


def _verified(path: Path, file: DataFile) -> Path:
    read_verified(path, file.sha256)
    return path


def _download(file: DataFile) -> Path:
    target = cache_folder() / file.path
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".tmp-", dir=target.parent) as folder:
            part = Path(folder) / target.name
            with DownloadProgress(target.name) as progress:
                downloader = pooch.HTTPDownloader(progressbar=progress, chunk_size=CHUNK_BYTES)  # pyright: ignore[reportArgumentType]
                downloader(file.url, str(part), None)
            _prepare(part, file)
            os.replace(part, target)
    except OSError as error:  # what requests raises is one too
        raise DataError(f"cannot download {file.url} to {target}: {error}") from error
    return target


def _prepare(part: Path, file: DataFile) -> None:
    """Verifies what was downloaded and makes it compressed or plain, as the file's name says."""
    raw = part.read_bytes()
    compressed = raw.startswith(GZIP_MAGIC)
    content = decompress(raw, str(file.url)) if compressed else raw
    check_digest(content, file.sha256, str(file.url))
    wanted = part.suffix == ".gz"
    if wanted != compressed:
        raw = gzip.compress(content, mtime=0) if wanted else content
    with open(part, "wb") as stream:
        stream.write(raw)
        stream.flush()
        os.fsync(stream.fileno())
