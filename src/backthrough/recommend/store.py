"""Ratings with the ids that people use: in memory, and on disk if they are to survive."""

import sqlite3
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from backthrough.core import ArgumentError, DataError, check_choice

Id = int | str
Duplicates = Literal["error", "last", "mean"]

TABLES = """
create table if not exists user (number integer primary key, id unique not null);
create table if not exists item (number integer primary key, id unique not null);
create table if not exists rating (user integer, item integer, rating real, primary key (user, item))
without rowid;
"""
ITEM_BITS = 32
MOST_NODES = 2**31 - 1


class Names:
    """Ids of one side and their numbers: whole numbers or words, never both, since 1 and "1" look alike."""

    def __init__(self, side: str, ids: Iterable[Id] = ()):
        self.side = side
        self.ids: list[Id] = []
        self._numbers: dict[Id, int] = {}
        self.extend(ids)

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, one: Hashable) -> bool:
        return bool(self.find([one])[0] >= 0)

    def extend(self, ids: Iterable[Id]) -> list[Id]:
        """Adds ids that are new, and returns them."""
        new = []
        for one in ids:
            one = self._plain(one)
            if one not in self._numbers:
                if len(self.ids) == MOST_NODES:
                    raise DataError(f"there are more than {MOST_NODES:,} {self.side}s")
                self._numbers[one] = len(self.ids)
                self.ids.append(one)
                new.append(one)
        return new

    def find(self, ids: Iterable[Any]) -> Int[np.ndarray, " id"]:
        """Their numbers; -1 for one that there is not."""
        return np.array([self._numbers.get(self._plain(one), -1) for one in ids], np.int64)

    def _plain(self, one: Any) -> Id:
        if isinstance(one, np.generic):
            one = one.item()
        if isinstance(one, bool) or not isinstance(one, int | str) or one == "":
            raise DataError(f"{self.side} ids are whole numbers or words, got {one!r}")
        if self.ids and type(one) is not type(self.ids[0]):
            kinds = {int: "whole numbers", str: "words"}
            raise DataError(
                f"{self.side} ids are {kinds[type(self.ids[0])]} here, such as {self.ids[0]!r}, got {one!r}: "
                f"convert it by {type(self.ids[0]).__name__}()"
            )
        return one


class RatingStore:
    """Who rated what, and how.

    With a path it is an SQLite file: what `add` and `remove` have returned from is on the disk, also if the
    process or the machine ends a moment later.

    Args:
        path: The file; made if it is not there. In memory only by default.

    Attributes:
        users: Ids of users.
        items: Ids of items.

    Raises:
        DataError: for a file that is no store of ratings.

    Examples:
        >>> store = RatingStore()
        >>> store.add([("ann", "Alien", 4.0), ("ann", "Heat", 2.5), ("bob", "Alien", 5.0)])
        >>> len(store), store.users.ids
        (3, ['ann', 'bob'])
        >>> store.ratings_of("ann")
        {'Alien': 4.0, 'Heat': 2.5}
        >>> store.remove([("ann", "Heat")])
        >>> store.ratings_of("ann")
        {'Alien': 4.0}
    """

    def __init__(self, path: str | Path | None = None):
        self.users, self.items = Names("user"), Names("item")
        self._keys = np.empty(0, np.int64)  # user * 2**32 + item, ascending
        self._values = np.empty(0)
        self.path = None if path is None else Path(path)
        self._file = None if self.path is None else self._open(self.path)

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, pair: tuple[Any, Any]) -> bool:
        user, item = pair
        return bool(self.places(self.users.find([user]), self.items.find([item]))[1][0])

    @property
    def user(self) -> Int[np.ndarray, " rating"]:
        """The number of each rating's user, ascending."""
        return self._keys >> ITEM_BITS

    @property
    def item(self) -> Int[np.ndarray, " rating"]:
        """The number of each rating's item."""
        return self._keys & (2**ITEM_BITS - 1)

    @property
    def rating(self) -> Float[np.ndarray, " rating"]:
        """The ratings."""
        return self._values

    def ratings_of(self, user: Id) -> dict[Id, float]:
        """What a user has rated; nothing for one that there is not."""
        number = int(self.users.find([user])[0])
        if number < 0:
            return {}
        first, last = np.searchsorted(self._keys, [number << ITEM_BITS, (number + 1) << ITEM_BITS])
        items = self._keys[first:last] & (2**ITEM_BITS - 1)
        return {
            self.items.ids[item]: float(value)
            for item, value in zip(items, self._values[first:last], strict=True)
        }

    def add(self, ratings: Any, *, duplicates: Duplicates = "error") -> None:
        """Adds ratings; users and items that are new are added too. All of them or, with an error, none.

        Args:
            ratings: Triples of user, item and rating; a table with columns of these names; or a store.
            duplicates: What to do with a pair that has a rating already, or two here: refuse it, keep the
                last, or keep the mean.

        Raises:
            DataError: naming the first that is not finite, is no id, or is there twice.
        """
        check_choice("duplicates", duplicates, ("error", "last", "mean"))
        users, items, values = columns_of(ratings)
        if not np.isfinite(values).all():
            row = int(np.argmax(~np.isfinite(values)))
            raise DataError(f"rating {row}, of {users[row]!r} for {items[row]!r}, is {values[row]}")
        before = len(self.users), len(self.items)
        try:
            new = self.users.extend(users), self.items.extend(items)
            keys = (self.users.find(users) << ITEM_BITS) + self.items.find(items)
            keys, values = self._without_duplicates(keys, values, duplicates)
            self._write(new, keys, values)
        except BaseException:
            self._forget(before)
            raise
        self._put(keys, values)

    def remove(self, pairs: Any) -> None:
        """Takes ratings back: afterwards nothing depends on them. All of them or, with an error, none.

        Args:
            pairs: Pairs of user and item.

        Raises:
            DataError: naming the first pair without a rating.
        """
        pairs = [tuple(pair) for pair in pairs]
        for pair in pairs:
            if len(pair) != 2:
                raise ArgumentError(f"remove takes pairs of user and item, got {pair!r}")
        users, items = self.users.find(u for u, _ in pairs), self.items.find(i for _, i in pairs)
        places, is_there = self.places(users, items)
        if not is_there.all():
            user, item = pairs[int(np.argmax(~is_there))]
            raise DataError(f"{user!r} has not rated {item!r}")
        if self._file is not None:
            with self._file:
                rows = zip(users.tolist(), items.tolist(), strict=True)
                self._file.executemany("delete from rating where user = ? and item = ?", rows)
        self._keys, self._values = np.delete(self._keys, places), np.delete(self._values, places)

    def remove_user(self, user: Id) -> None:
        """Takes back all that a user has rated."""
        self.remove([(user, item) for item in self.ratings_of(user)])

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()

    def places(
        self, users: Int[np.ndarray, " pair"], items: Int[np.ndarray, " pair"]
    ) -> tuple[Int[np.ndarray, " pair"], Bool[np.ndarray, " pair"]]:
        """Where pairs of numbers are, or would be; and whether they are there."""
        keys = (users << ITEM_BITS) + items
        places = np.searchsorted(self._keys, keys)
        is_there = np.zeros(len(keys), bool)
        inside = (places < len(self)) & (users >= 0) & (items >= 0)
        is_there[inside] = self._keys[places[inside]] == keys[inside]
        return places, is_there

    def _without_duplicates(
        self, keys: Int[np.ndarray, " rating"], values: Float[np.ndarray, " rating"], duplicates: Duplicates
    ) -> tuple[np.ndarray, np.ndarray]:
        """Ascending, each pair once."""
        order = np.argsort(keys, kind="stable")
        keys, values = keys[order], values[order]
        is_first = np.r_[True, keys[1:] != keys[:-1]] if len(keys) else np.empty(0, bool)
        places, is_old = self.places(keys >> ITEM_BITS, keys & (2**ITEM_BITS - 1))
        if duplicates == "error":
            for is_twice, what in ((~is_first, "has two ratings here"), (is_old, "has a rating already")):
                if is_twice.any():
                    key = int(keys[np.argmax(is_twice)])
                    user, item = self.users.ids[key >> ITEM_BITS], self.items.ids[key & (2**ITEM_BITS - 1)]
                    raise DataError(
                        f'{user!r} {what} for {item!r}: choose by duplicates="last" or duplicates="mean"'
                    )
            return keys, values
        starts = np.flatnonzero(is_first)
        if duplicates == "last":
            ends = np.r_[starts[1:], len(keys)] - 1 if len(starts) else starts
            return keys[starts], values[ends]
        counts, total = (
            np.diff(np.r_[starts, len(keys)]),
            np.add.reduceat(values, starts) if len(keys) else values,
        )
        is_old, places = is_old[starts], places[starts]
        total[is_old] += self._values[places[is_old]]
        return keys[starts], total / (counts + is_old)

    def _put(self, keys: np.ndarray, values: np.ndarray) -> None:
        places, is_old = self.places(keys >> ITEM_BITS, keys & (2**ITEM_BITS - 1))
        self._values = self._values.copy()  # those handed out stay as they are
        self._values[places[is_old]] = values[is_old]
        new = ~is_old
        self._keys = np.insert(self._keys, places[new], keys[new])
        self._values = np.insert(self._values, places[new], values[new])

    def _forget(self, before: tuple[int, int]) -> None:
        """Names that came with ratings which were refused."""
        for names, n in zip((self.users, self.items), before, strict=True):
            for one in names.ids[n:]:
                del names._numbers[one]
            del names.ids[n:]

    def _open(self, path: Path) -> sqlite3.Connection:
        try:
            file = sqlite3.connect(path, check_same_thread=False)
        except sqlite3.Error as error:
            raise DataError(f"cannot open {path}: {error}") from error
        try:
            file.execute("pragma journal_mode = wal")
            file.execute("pragma synchronous = full")
            file.executescript(TABLES)
            for names in (self.users, self.items):
                names.extend(one for (one,) in file.execute(f"select id from {names.side} order by number"))
            rows = file.execute("select user, item, rating from rating order by user, item").fetchall()
        except sqlite3.Error as error:
            file.close()
            raise DataError(f"{path} is no store of ratings: {error}") from error
        table = np.array(rows, np.float64).reshape(-1, 3)
        self._keys = (table[:, 0].astype(np.int64) << ITEM_BITS) + table[:, 1].astype(np.int64)
        self._values = table[:, 2]
        return file

    def _write(self, new: tuple[list[Id], list[Id]], keys: np.ndarray, values: np.ndarray) -> None:
        if self._file is None:
            return
        with self._file:
            for names, ids in zip((self.users, self.items), new, strict=True):
                first = len(names) - len(ids)
                self._file.executemany(f"insert into {names.side} values (?, ?)", enumerate(ids, first))
            numbers = (keys >> ITEM_BITS).tolist(), (keys & (2**ITEM_BITS - 1)).tolist(), values.tolist()
            rows = zip(*numbers, strict=True)
            self._file.executemany("insert or replace into rating values (?, ?, ?)", rows)


def columns_of(ratings: Any) -> tuple[Sequence[Id], Sequence[Id], Float[np.ndarray, " rating"]]:
    """Users, items and ratings from triples, a table or a store.

    Raises:
        ArgumentError: for something else.
        DataError: for ratings that are no numbers.
    """
    if isinstance(ratings, RatingStore):
        users = [ratings.users.ids[number] for number in ratings.user]
        return users, [ratings.items.ids[number] for number in ratings.item], ratings.rating
    if isinstance(ratings, pd.DataFrame):
        missing = [name for name in ("user", "item", "rating") if name not in ratings]
        if missing:
            raise ArgumentError(
                f"a table of ratings has the columns user, item and rating; {', '.join(missing)} is missing "
                f"among {', '.join(map(str, ratings.columns))}"
            )
        columns = [ratings[name].tolist() for name in ("user", "item", "rating")]
    else:
        triples = [tuple(row) for row in ratings]
        for row in triples:
            if len(row) != 3:
                raise ArgumentError(f"ratings are triples of user, item and rating, got {row!r}")
        columns = [list(column) for column in zip(*triples, strict=True)] or [[], [], []]
    try:
        return columns[0], columns[1], np.array(columns[2], np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"ratings must be numbers: {error}") from None
