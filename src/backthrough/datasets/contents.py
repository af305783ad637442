"""What a data set is once loaded: frozen dataclasses of NumPy arrays, each with its licence and source."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped, UInt8

from backthrough.core import check_choice


@runtime_checkable
class Dataset(Protocol):
    """What every loaded data set has besides its arrays."""

    @property
    def licence(self) -> str:
        """The terms, as far as they are known."""
        ...

    @property
    def source(self) -> str:
        """Whom to cite and where the data are published; for a user's own data, the path."""
        ...


@dataclass(frozen=True)
class Images:
    """Grey-level pictures with class labels, in a training and a test part; 0 is the background, 255 ink."""

    train_images: UInt8[np.ndarray, "train height width"]
    train_labels: UInt8[np.ndarray, " train"]
    test_images: UInt8[np.ndarray, "test height width"]
    test_labels: UInt8[np.ndarray, " test"]
    licence: str
    source: str


@dataclass(frozen=True)
class BinaryImages:
    """Pictures of zeros and ones in row-major order, with a label for each test picture only."""

    train: UInt8[np.ndarray, "train pixel"]
    valid: UInt8[np.ndarray, "valid pixel"]
    test: UInt8[np.ndarray, "test pixel"]
    test_labels: UInt8[np.ndarray, " test"]
    licence: str
    source: str


@dataclass(frozen=True)
class Sprites:
    """Small pictures of zeros and ones, each made from known factors.

    Attributes:
        classes: The class of each factor, from 0, one row a picture.
        factor_sizes: How many classes each factor has in the whole grid; not all need occur.
    """

    images: UInt8[np.ndarray, "picture size size"]
    classes: Int[np.ndarray, "picture factor"]
    factor_names: tuple[str, ...]
    factor_sizes: tuple[int, ...]
    licence: str
    source: str


@dataclass(frozen=True)
class Regression:
    """A table to regress on, with its standard splits; x and y are in original units.

    Attributes:
        train_index: Row numbers of the training part of each split.
        test_index: Row numbers of the test part of each split.
        n_hidden: Hidden units of the one-layer network that the benchmark prescribes for this table.
    """

    x: Float[np.ndarray, "row feature"]
    y: Float[np.ndarray, " row"]
    train_index: Int[np.ndarray, "split train"]
    test_index: Int[np.ndarray, "split test"]
    n_hidden: int
    feature_names: tuple[str, ...]
    target_name: str
    licence: str
    source: str


@dataclass(frozen=True)
class Series:
    """A time series, possibly irregular.

    Attributes:
        time: Times in years (a date becomes a decimal year).
        values: One column a quantity; NaN where a value is missing.
        names: The quantities.
    """

    time: Float[np.ndarray, " time"]
    values: Float[np.ndarray, "time quantity"]
    names: tuple[str, ...]
    licence: str
    source: str


@dataclass(frozen=True)
class Ratings:
    """Ratings of items by users; attributes that a data set does not have are None.

    Attributes:
        user: User number of each rating, from 0.
        item: Item number of each rating, from 0.
        rating: The rating, in stars.
        n_users: Size of the user range; some users may have no rating.
        n_items: Size of the item range; some items may have no rating.
        timestamp: Seconds since 1970-01-01 UTC.
        fold: Number of the test fold that the rating belongs to.
        is_test: Whether the rating belongs to the published test part.
        user_id: The original id of each user.
        item_id: The original id of each item.
        cold_user: Users kept aside for cold-start tests.
        titles: The title of each item.
        genres: The genres of each item.
        user_edges: Pairs of users joined in the published user graph.
        item_edges: Pairs of items joined in the published item graph.
    """

    user: Int[np.ndarray, " rating"]
    item: Int[np.ndarray, " rating"]
    rating: Float[np.ndarray, " rating"]
    n_users: int
    n_items: int
    licence: str
    source: str
    timestamp: Int[np.ndarray, " rating"] | None = None
    fold: Int[np.ndarray, " rating"] | None = None
    is_test: Bool[np.ndarray, " rating"] | None = None
    user_id: Int[np.ndarray, " user"] | None = None
    item_id: Int[np.ndarray, " item"] | None = None
    cold_user: Bool[np.ndarray, " user"] | None = None
    titles: tuple[str, ...] | None = None
    genres: tuple[tuple[str, ...], ...] | None = None
    user_edges: Int[np.ndarray, "user_edge 2"] | None = None
    item_edges: Int[np.ndarray, "item_edge 2"] | None = None


@dataclass(frozen=True)
class Sequences:
    """Named sequences of letters, with labels or measured values where the data set has them.

    Attributes:
        labels: Index into `class_names` of each sequence.
        values: One measurement a sequence.
        line_width: Letters a line in the FASTA file; None when the sequences did not come as FASTA.
    """

    names: tuple[str, ...]
    sequences: tuple[str, ...]
    licence: str
    source: str
    labels: UInt8[np.ndarray, " sequence"] | None = None
    class_names: tuple[str, ...] = ()
    values: Float[np.ndarray, " sequence"] | None = None
    line_width: int | None = None


@dataclass(frozen=True)
class Messages:
    """Short texts, each of one class; `labels` index into `class_names`."""

    texts: tuple[str, ...]
    labels: UInt8[np.ndarray, " message"]
    class_names: tuple[str, ...]
    licence: str
    source: str


@dataclass(frozen=True)
class Text:
    """One text."""

    text: str
    licence: str
    source: str


@dataclass(frozen=True)
class Arrays:
    """Named arrays: `data["images"]` is the array of that name, `data.names` lists them."""

    arrays: Mapping[str, Shaped[np.ndarray, "..."]]
    licence: str
    source: str

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the arrays."""
        return tuple(self.arrays)

    def __getitem__(self, name: str) -> Shaped[np.ndarray, "..."]:
        return self.arrays[check_choice("array", name, self.arrays)]

    def __contains__(self, name: object) -> bool:
        return name in self.arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)


@dataclass(frozen=True)
class Table:
    """A user's own table: numeric features and one numeric target.

    Attributes:
        source: The path it was read from.
    """

    x: Float[np.ndarray, "row feature"]
    y: Float[np.ndarray, " row"]
    feature_names: tuple[str, ...]
    target_name: str
    source: str


@dataclass(frozen=True)
class ImageFolder:
    """A user's own pictures, all of one size, grey or colour.

    Attributes:
        labels: Index into `class_names` of each picture; None when the folder has no class folders.
        class_names: The names of the class folders, sorted.
        files: The path of each picture inside the folder, with forward slashes.
        source: The folder.
    """

    images: UInt8[np.ndarray, "image height width *channel"]
    labels: Int[np.ndarray, " image"] | None
    class_names: tuple[str, ...]
    files: tuple[str, ...]
    source: str
