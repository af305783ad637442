import numpy as np
import pytest

from backthrough.core import ArgumentError, DataError
from backthrough.datasets import read_series


@pytest.fixture
def read(tmp_path):
    def write_and_read(text, **options):
        path = tmp_path / "tides.csv"
        path.write_text(text)
        return read_series(path, **{"time": "t", **options})

    return write_and_read


def test_rows_are_sorted_into_series_and_gaps_are_kept(read):
    table = read("port;t;level;wind\nb;2.5;1;NA\na;1;;3\nb;-1;4;5\n", series="port")
    assert table.ids == ("b", "a")
    assert table.names == ("level", "wind")
    assert not table.dated
    np.testing.assert_array_equal(table.times[0], [-1, 2.5])
    np.testing.assert_array_equal(table.values[0], [[4, 5], [1, np.nan]])
    np.testing.assert_array_equal(table.values[1], [[np.nan, 3]])
    assert read("port,t,level\nb,2,1\n", columns=["level"]).ids == ("tides",)


@pytest.mark.parametrize(
    ("cells", "days"),
    [
        (["1970-01-02", "1970-01-03T12:00"], [1, 2.5]),
        (["19700102", "19700301"], [1, 59]),
        (["1970-01-02T00:00+01:00", "1970-01-02T00:00Z"], [1 - 1 / 24, 1]),
    ],
)
def test_dates_become_days(read, cells, days):
    table = read("t,x\n" + "".join(f"{cell},1\n" for cell in cells))
    assert table.dated
    np.testing.assert_allclose(table.times[0], days)


def test_numbers_that_are_no_dates_stay_numbers(read):
    table = read("t,x\n19701302,1\n19700102,1\n")  # there is no month 13
    assert not table.dated
    assert table.times[0].tolist() == [19700102, 19701302]


@pytest.mark.parametrize(
    ("text", "options", "error", "message"),
    [
        ("day,x\n1,2\n", {}, ArgumentError, r"unknown time column of .*tides.csv 't' \(known: day, x\)"),
        ("t,x\n1,2\n", {"series": "id"}, ArgumentError, r"unknown series column .* 'id' \(known: t, x\)"),
        ("t,x\n1,2\n", {"columns": ["y"]}, ArgumentError, r"unknown column of .* 'y' \(known: t, x\)"),
        ("t,x\n1,2\n", {"columns": ["x", "x"]}, ArgumentError, "must differ, with a value column at least"),
        ("t\n1\n", {}, ArgumentError, "must differ, with a value column at least, got t"),
        (
            "t,x\n1,2\nsoon,3\n",
            {},
            DataError,
            "line 3, column 't' is neither a number nor an ISO date.*'soon'",
        ),
        ("t,x\n2024-01-01,2\nsoon,3\n", {}, DataError, "line 3, column 't' is not an ISO date.*'soon'"),
        ("t,x\n1,2\n5,4\n1,3\n", {}, DataError, "line 4 repeats the time '1' of line 2"),
        ("i,t,x\na,1,2\na,1,3\n", {"series": "i"}, DataError, "repeats the time '1' of series 'a' of line 2"),
        ("t,x\n1,2\n2,high\n", {}, DataError, "line 3, column 'x' is not a number: 'high'; leave a missing"),
        ("t,x\n1,2\n2,inf\n", {}, DataError, "line 3, column 'x' is not a number: 'inf'"),
        ("t,x\n1,2,3\n", {}, DataError, "line 2 has 3 cells, but the header has 2 columns"),
        ("t,x\n", {}, DataError, "has a header line and no rows"),
    ],
)
def test_what_cannot_be_used_is_named(read, text, options, error, message):
    with pytest.raises(error, match=message):
        read(text, **options)
