"""Files of ratings as people have them."""

import pytest

from backthrough.core import ArgumentError, DataError
from backthrough.recommend import read_ratings

ROWS = [(1, 31, 2.5), (7, 2, 4.0)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("u.data", "1\t31\t2.5\t881250949\n7\t2\t4\t891717742\n"),
        ("ratings.dat", "1::31::2.5::978300760\n7::2::4::978302109\n"),
        ("bare.csv", "1,31,2.5\n7,2,4\n"),
        ("ratings.csv", "userId,movieId,rating,timestamp\n1,31,2.5,1260759144\n7,2,4.0,1260759179\n"),
        ("marked.csv", "\ufeffUser ID;Item ID;Stars\r\n1;31;2.5\r\n7;2;4\r\n"),
        ("turned.csv", "score,isbn,customer\n2.5,31,1\n4,2,7\n"),
        ("quoted.csv", '"user","item","rating"\n"1","31","2.5"\n"7","2","4"\n'),
    ],
)
def test_every_form_is_the_same_table(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    found = read_ratings(tmp_path / name)
    assert list(found.columns) == ["user", "item", "rating"]
    assert [tuple(row) for row in found.itertuples(index=False)] == ROWS
    assert found["user"].dtype == "int64"


def test_words_stay_words_with_their_zeros(tmp_path):
    (tmp_path / "books.csv").write_text("user,isbn,rating\nann,0439,5\nbob,X12,1\n")
    found = read_ratings(tmp_path / "books.csv")
    assert found["item"].tolist() == ["0439", "X12"]
    assert found["user"].tolist() == ["ann", "bob"]


def test_columns_by_name(tmp_path):
    (tmp_path / "a.csv").write_text("who,what,liked,rating\nann,Up,5,nothing\n")
    found = read_ratings(tmp_path / "a.csv", columns=["who", "what", "liked"])
    assert found.to_numpy().tolist() == [["ann", "Up", 5.0]]
    with pytest.raises(ArgumentError, match="did you mean 'what'"):
        read_ratings(tmp_path / "a.csv", columns=["who", "wat", "liked"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("who,what,liked\na,b,1\n", "no column of .* looks like that of the users .*--columns"),
        ("user,item,rating\na,b,good\n", "line 2: the rating is no number: 'good'"),
        ("user,item,rating\na,b,1\na,,2\n", "line 3 has no item"),
        ("user,item,rating\na,b,1\na,c\n", "line 3: the rating is no number"),
        ("user,item,rating\na,b,1,2,3\n", "is no table"),
        ("user item rating\n", "line 1 has one column"),
        ("", "is empty"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises((DataError, ArgumentError), match=message):
        read_ratings(tmp_path / "a.csv")


def test_other_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*none.csv: No such file"):
        read_ratings(tmp_path / "none.csv")
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04\xff\xfe")
    with pytest.raises(DataError, match="is no text in UTF-8"):
        read_ratings(tmp_path / "a.npz")
