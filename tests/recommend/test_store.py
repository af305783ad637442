"""The store of ratings: ids, duplicates, taking back, and what is on the disk after a kill."""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing

import numpy as np
import pandas as pd
import pytest

from backthrough.core import ArgumentError, DataError
from backthrough.recommend import RatingStore

RATINGS = [("ann", "Alien", 4.0), ("ann", "Heat", 2.5), ("bob", "Alien", 5.0)]


def content(store):
    names = store.users.ids, store.items.ids
    rows = zip(store.user, store.item, store.rating, strict=True)
    return {(names[0][user], names[1][item]): value for user, item, value in rows}


EXPECTED = {(user, item): rating for user, item, rating in RATINGS}


@pytest.fixture(params=["memory", "disk"])
def store(request, tmp_path):
    own = RatingStore(None if request.param == "memory" else tmp_path / "ratings.sqlite")
    own.add(RATINGS)
    yield own
    if own.path is not None:  # what is on the disk is what is in memory
        with closing(RatingStore(own.path)) as again:
            assert content(again) == content(own)
    own.close()


def test_what_is_added_is_there(store):
    assert content(store) == EXPECTED
    assert store.ratings_of("ann") == {"Alien": 4.0, "Heat": 2.5}
    assert store.ratings_of("somebody") == {}
    assert (np.diff(store.user) >= 0).all()


def test_a_table_and_a_store_are_the_same(store):
    table = pd.DataFrame(RATINGS, columns=["user", "item", "rating"])
    for ratings in (table, store):
        other = RatingStore()
        other.add(ratings)
        assert content(other) == EXPECTED


def test_what_is_removed_is_gone(store):
    before = store.rating
    store.remove([("ann", "Heat"), ("bob", "Alien")])
    assert content(store) == {("ann", "Alien"): 4.0}
    assert len(before) == 3
    store.remove_user("ann")
    assert len(store) == 0
    store.add([("ann", "Heat", 1.0)])
    assert content(store) == {("ann", "Heat"): 1.0}


@pytest.mark.parametrize(("duplicates", "value"), [("last", 2.0), ("mean", 3.0)])
def test_duplicates_as_one_chooses(store, duplicates, value):
    """Of 4 (there), 3 and 2: the last is 2, the mean of all is 3."""
    store.add([("ann", "Alien", 3.0), ("bob", "Heat", 1.0), ("ann", "Alien", 2.0)], duplicates=duplicates)
    assert content(store) == {**EXPECTED, ("ann", "Alien"): value, ("bob", "Heat"): 1.0}


def test_many_ratings_in_any_order_are_those_of_a_dictionary(store):
    rng = np.random.default_rng(0)
    expected = dict(EXPECTED)
    for _ in range(30):
        rows = [(f"u{rng.integers(9)}", f"i{rng.integers(9)}", float(rng.integers(5))) for _ in range(5)]
        store.add(rows, duplicates="last")
        expected |= {(user, item): value for user, item, value in rows}
        pair = list(expected)[rng.integers(len(expected))]
        store.remove([pair])
        del expected[pair]
    assert content(store) == expected


@pytest.mark.parametrize(
    ("ratings", "message"),
    [
        ([("eve", "Alien", 1.0), ("ann", "Alien", 3.0)], "'ann' has a rating already for 'Alien'"),
        ([("eve", "Up", 1.0), ("eve", "Up", 1.0)], "'eve' has two ratings here for 'Up'"),
        ([("eve", "Up", np.nan)], "rating 0, of 'eve' for 'Up', is nan"),
        ([("eve", "Up", "good")], "ratings must be numbers"),
        ([("eve", "Up")], r"triples of user, item and rating, got \('eve', 'Up'\)"),
        (
            [("eve", "Up", 1.0), (7, "Up", 1.0)],
            r"user ids are words here, such as 'ann', got 7: .* by str\(\)",
        ),
        ([("eve", "", 1.0)], "item ids are whole numbers or words, got ''"),
        ([(True, "Up", 1.0)], "got True"),
    ],
)
def test_a_refused_batch_leaves_nothing(store, ratings, message):
    with pytest.raises((DataError, ArgumentError), match=message):
        store.add(ratings)
    assert content(store) == EXPECTED
    assert store.users.ids == ["ann", "bob"]
    assert store.items.ids == ["Alien", "Heat"]
    store.add([("eve", "Up", 1.0)])
    assert content(store) == {**EXPECTED, ("eve", "Up"): 1.0}


@pytest.mark.parametrize("pairs", [[("ann", "Alien"), ("ann", "Up")], [("eve", "Alien")], [("bob", "Heat")]])
def test_what_is_not_there_cannot_be_removed(store, pairs):
    with pytest.raises(DataError, match="has not rated"):
        store.remove(pairs)
    assert content(store) == EXPECTED


def test_whole_numbers_are_ids_too():
    store = RatingStore()
    store.add(pd.DataFrame({"user": [3, 3, 9], "item": [2**40, 1, 1], "rating": [1, 2, 3]}))
    assert store.ratings_of(3) == {2**40: 1.0, 1: 2.0}
    with pytest.raises(DataError, match="user ids are whole numbers here"):
        store.ratings_of("3")


def test_other_files_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("user,item,rating\n" * 50)
    with pytest.raises(DataError, match="is no store of ratings"):
        RatingStore(tmp_path / "a.csv")
    with pytest.raises(ArgumentError, match="rating is missing among user, item"):
        RatingStore().add(pd.DataFrame({"user": [1], "item": [1]}))


@pytest.mark.slow
def test_what_was_acknowledged_survives_a_kill(tmp_path):
    program = """
import sys
from backthrough.recommend import RatingStore
store = RatingStore(sys.argv[1])
for number in range(10**6):
    store.add([(number, 0, 1.0), (number, 1, 2.0)])
    print(number, flush=True)
"""
    for _ in range(3):
        path = tmp_path / "ratings.sqlite"
        for file in tmp_path.iterdir():
            file.unlink()
        command = [sys.executable, "-c", program, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "0\n"
            time.sleep(0.3)
            os.kill(child.pid, signal.SIGKILL)
            told = child.stdout.read().split("\n")[:-1]  # whole lines
        with closing(RatingStore(path)) as store:
            assert len(store.users) > int(told[-1]) > 0
            assert len(store) == 2 * len(store.users)  # whole batches
