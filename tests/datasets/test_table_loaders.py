import numpy as np
import pytest

from backthrough.datasets import load
from backthrough.datasets.table_loaders import standard_splits


def test_each_split_is_a_partition():
    train, test = standard_splits(308, 20)
    assert train.shape == (20, 277)
    assert test.shape == (20, 31)
    np.testing.assert_array_equal(
        np.sort(np.concatenate([train, test], axis=1), axis=1), np.tile(np.arange(308), (20, 1))
    )


def test_fewer_splits_are_the_first_ones():
    all_splits, first = load("yacht"), load("yacht", n_splits=3)
    np.testing.assert_array_equal(first.test_index, all_splits.test_index[:3])
    assert len(all_splits.test_index) == 20


def test_first_split_of_the_benchmark():
    assert load("yacht").train_index[0, :5].tolist() == [73, 304, 228, 238, 259]


def test_co2_keeps_missing_weeks():
    co2 = load("co2")
    assert co2.values.shape == (2284, 1)
    assert co2.names == ("co2",)
    assert np.isnan(co2.values).sum() == 59
    assert co2.time[0] == pytest.approx(1958 + 87 / 365)
    assert np.all(np.diff(co2.time) > 0)
    assert np.diff(co2.time) == pytest.approx(np.full(2283, 7 / 365.25), rel=3e-3)


def test_yearly_series():
    pelts = load("lynx-hare")
    assert pelts.names == ("lynx", "hare")
    assert pelts.time.tolist() == list(range(1900, 1921))
    assert pelts.values[0].tolist() == [4.0, 30.0]
    sunspots = load("sunspots")
    assert sunspots.names == ("sunactivity",)
    assert sunspots.time[[0, -1]].tolist() == [1700, 2008]


def test_movielens():
    films = load("ml-latest-small")
    assert (films.n_users, films.n_items, len(films.rating)) == (610, 9724, 100836)
    assert set(np.unique(films.rating * 2)) == set(range(1, 11))
    assert np.bincount(films.user).min() >= 20
    assert films.titles[0] == "Toy Story (1995)"
    assert films.genres[0] == ("Adventure", "Animation", "Children", "Comedy", "Fantasy")
    assert len(films.titles) == 9724
    assert () in films.genres
    assert films.cold_user.sum() == 122
    assert films.is_test is None
