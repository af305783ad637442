"""One entry of the registry: what is known of a data set before it is loaded."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class DataFile:
    """A file of a data set.

    Attributes:
        path: Where it lies in a data folder (or, when bundled, in the package's), with forward slashes.
        sha256: Digest of its content after decompression; see `digests.content_digest`.
        url: Where the same content can be had over HTTP; None where no such place is known.
    """

    path: str
    sha256: str
    url: str | None = None


@dataclass(frozen=True)
class Entry:
    """What is known of a data set before it is loaded.

    Attributes:
        name: What `load` is given.
        summary: One line.
        shapes: What the loaded data set holds.
        licence: The terms as stated by the source; "unknown" where it states none.
        citation: Whom to cite.
        home: The public page of the original data.
        files: The files, in the order in which `read` takes their contents.
        read: Makes the data set: `read(*contents, licence=..., source=..., **options)`.
        options: The options that `load` passes on to `read`.
        notes: How the files were made, and what must not be overlooked when using them.
        bundled: Whether the files come with the package.
        smaller: A bundled data set that can stand in for this one.
    """

    name: str
    summary: str
    shapes: str
    licence: str
    citation: str
    home: str
    files: tuple[DataFile, ...]
    read: Callable[..., Any]
    options: tuple[str, ...] = ()
    notes: str = ""
    bundled: bool = False
    smaller: str | None = None

    @property
    def source(self) -> str:
        """Whom to cite, and where the data are published."""
        return f"{self.citation} {self.home}"

    @property
    def fetchable(self) -> bool:
        """Whether every file has a public address."""
        return all(file.url is not None for file in self.files)
