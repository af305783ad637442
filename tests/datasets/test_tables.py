import numpy as np
import pytest

from backthrough.core import ArgumentError, DataError
from backthrough.datasets import read_columns, read_table

GOOD = "a,b,y\n1,2,3\n4,5,6\n"


def read(tmp_path, content, target="y", **options):
    path = tmp_path / "mine.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path, target=target, **options)


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        GOOD.rstrip("\n"),
        GOOD + "\n\n",
        GOOD.replace(",", ";"),
        GOOD.replace(",", "\t"),
        GOOD.replace(",", ", "),
        GOOD.replace("\n", "\r\n"),
        GOOD.replace("\n", "\r"),
        b"\xef\xbb\xbf" + GOOD.encode(),
        '"a","b","y"\n"1","2","3"\n4, "5",6\n',
        GOOD.replace("1", " 1e0 "),
    ],
)
def test_table_in_every_dress(tmp_path, content):
    table = read(tmp_path, content)
    np.testing.assert_array_equal(table.x, [[1, 2], [4, 5]])
    np.testing.assert_array_equal(table.y, [3, 6])
    assert table.x.dtype == table.y.dtype == np.float64
    assert table.feature_names == ("a", "b")
    assert table.target_name == "y"
    assert table.source.endswith("mine.csv")


def test_target_may_stand_anywhere(tmp_path):
    table = read(tmp_path, GOOD, target="a")
    np.testing.assert_array_equal(table.x, [[2, 3], [5, 6]])
    np.testing.assert_array_equal(table.y, [1, 4])


def test_named_delimiter_and_quoted_one(tmp_path):
    assert read(tmp_path, "a|y\n1|2\n", delimiter="|").y.tolist() == [2]
    assert read(tmp_path, '"width, mm, outside";y\n1;2\n').feature_names == ("width, mm, outside",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"mine\.csv is empty"),
        (" \n\n", r"mine\.csv is empty"),
        ("a,b,y\n", r"mine\.csv has a header line and no rows"),
        ("a,a,y\n1,2,3\n", r"mine\.csv line 1: column name 'a' occurs twice"),
        ("a,,y\n1,2,3\n", r"mine\.csv line 1: column 2 has no name"),
        ("a,b,y\n1,2,3\n4,5\n", r"mine\.csv line 3 has 2 cells, but the header has 3 columns"),
        ("a,b,y\n1,2,3,4\n", r"mine\.csv line 2 has 4 cells, but the header has 3 columns"),
        ("a,b,y\n1,2,3\n\n4,5,6\n", r"mine\.csv line 3 is blank"),
        ("a,b,y\n1,,3\n", r"mine\.csv line 2, column 'b' is blank"),
        ("a\ty\n1\t\n", r"mine\.csv line 2, column 'y' is blank"),
        ("a,b,y\n1,2,3\n4,red,6\n", r"mine\.csv line 3, column 'b' is not a number: 'red'"),
        ("a,b,y\n1,1_000,3\n", r"line 2, column 'b' is not a number: '1_000'"),
        (
            "a;y\n1,5;2\n",
            r"line 2, column 'a' is not a number: '1,5'; numbers are written with a decimal point",
        ),
        ("a,b,y\n1,nan,3\n", r"mine\.csv line 2, column 'b' is not finite: 'nan'"),
        ("a,b,y\n1,2,-inf\n", r"mine\.csv line 2, column 'y' is not finite: '-inf'"),
        ("a,b,y\n1,1e999,2\n", r"mine\.csv line 2, column 'b' is not finite: '1e999'"),
        ('a,b,y\n1,2,3\n4,"5,6\n', r"mine\.csv line 3 is not well-formed CSV: unexpected end of data"),
        ("y\n1\n", r"mine\.csv has no column besides the target 'y'"),
        ("1,2,3\n4,5,6\n", r"mine\.csv line 1 holds only numbers .* must hold the column names"),
        (b"a,y\n1,\xff2\n", r"mine\.csv is not UTF-8: byte 0xff at position 6 \(line 2\)"),
        ("a,y\n1,2\n".encode("utf-16"), r"mine\.csv is not UTF-8: byte 0xff at position 0 \(line 1\)"),
    ],
)
def test_bad_table_is_named(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, content)


def test_line_numbers_count_lines_inside_quotes(tmp_path):
    with pytest.raises(DataError, match="line 4, column 'y' is not a number: 'x'"):
        read(tmp_path, '"a\nlong name",y\n1,2\n3,x\n')


def test_unknown_target_names_the_nearest(tmp_path):
    with pytest.raises(
        ArgumentError, match=r"unknown target column of .*mine\.csv 'prize'; did you mean 'price'"
    ):
        read(tmp_path, "a,price\n1,2\n", target="prize")


@pytest.mark.parametrize("delimiter", ["", ",,", '"', "\n"])
def test_impossible_delimiter_is_refused(tmp_path, delimiter):
    with pytest.raises(ArgumentError, match="delimiter must be one character"):
        read(tmp_path, GOOD, delimiter=delimiter)


def test_unreadable_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*none\.csv: No such file"):
        read_table(tmp_path / "none.csv", target="y")
    with pytest.raises(DataError, match=r"cannot read .*: Is a directory"):
        read_table(tmp_path, target="y")


def test_columns_are_read_in_the_order_that_was_asked_for(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("a;b;c\n1;2;3\n4;5;6\n")
    names, values = read_columns(path)
    assert names == ("a", "b", "c")
    assert values.tolist() == [[1, 2, 3], [4, 5, 6]]
    names, values = read_columns(path, columns=["c", "a"])
    assert names == ("c", "a")
    assert values.tolist() == [[3, 1], [6, 4]]
    path.write_text("a;b;c\n1;two;3\n4;;6\n")  # what is not asked for may hold anything
    assert read_columns(path, columns=["c", "a"])[1].tolist() == [[3, 1], [6, 4]]
    with pytest.raises(DataError, match="line 2, column 'b' is not a number: 'two'"):
        read_columns(path)
    with pytest.raises(ArgumentError, match=r"unknown column of .*mine.csv 'bb'; did you mean 'b'"):
        read_columns(path, columns=["bb"])
    with pytest.raises(ArgumentError, match="columns must differ from each other, got a, a"):
        read_columns(path, columns=["a", "a"])
    path.write_text("1,2\n3,4\n")
    with pytest.raises(DataError, match="line 1 holds only numbers"):
        read_columns(path)
