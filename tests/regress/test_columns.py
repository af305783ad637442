"""Decisions about columns, and what comes of them."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest

from backthrough.core import ArgumentError, DataError
from backthrough.regress import ColumnEncoder, Decisions


@pytest.fixture
def frame():
    return pd.DataFrame(
        {
            "area": [50.0, 80.0, np.nan, 70.0, 65.0, 90.0],
            "city": ["a", "b", "a", None, "b", "c"],
            "sold": [True, False, True, True, False, True],
            "new": ["yes", "no", None, "yes", "yes", "No"],
            "built": ["1970-01-01", "1970-01-11", "1970-02-01", "1970-01-01", "1970-01-01", "1970-01-02"],
            "same": 0.1 + 0.2 - 0.3 + np.zeros(6),
            "empty": [None] * 6,
            "name": [f"house {i}" for i in range(6)],
            "storeys": [1, 2, 3, 1, 2, 3],
        }
    )


def fitted(frame, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ColumnEncoder(**settings).fit(frame)


def test_every_column_becomes_what_is_said(frame):
    with pytest.warns(UserWarning, match="'same' is left out") as caught:
        encoder = ColumnEncoder().fit(frame)
    said = str(caught[0].message)
    assert "column 'empty' is left out: no cell has a value" in said
    assert "column 'name' is left out: text that differs in 6 of 6 rows" in said
    assert "column 'area' has 1 missing cells: filled with the median 70, and marked by an indicator" in said
    assert encoder.decisions.outputs == (
        "area",
        "area is missing",
        *("city = a", "city = b", "city = other"),
        "sold",
        *("new", "new is missing"),
        "built",
        "storeys",
    )
    found = pd.DataFrame(encoder.transform(frame), columns=list(encoder.decisions.outputs))
    assert found["area"].tolist() == [50, 80, 70, 70, 65, 90]
    assert found["area is missing"].tolist() == [0, 0, 1, 0, 0, 0]
    assert found["city = other"].tolist() == [0, 0, 0, 1, 0, 1]  # seen once: the missing cell, and c
    assert found["sold"].tolist() == [1, 0, 1, 1, 0, 1]
    assert found["new"].tolist() == [1, 0, 1, 1, 1, 0]  # the commoner value where it is missing
    assert found["built"].tolist() == [0, 10, 31, 0, 0, 1]
    table = encoder.decisions.table()
    assert table["column"].tolist() == list(frame.columns)
    assert table["numbers"].sum() == found.shape[1]
    assert "if they are codes, name it in categories" in table["decision"].iloc[-1]


def test_the_settings_are_json_and_make_the_same_encoder(frame):
    encoder = fitted(frame, categories=["storeys"], most_levels=2)
    again = ColumnEncoder.from_settings(json.loads(json.dumps(encoder.settings())))
    assert again.decisions == encoder.decisions
    np.testing.assert_array_equal(again.transform(frame), encoder.transform(frame))
    assert "storeys = other" in encoder.decisions.outputs  # of three levels two have a column


def test_what_is_new_is_counted_and_said(frame):
    encoder = fitted(frame)
    new = frame.assign(city=["a", "x", "y", "a", "x", "b"], built=[None, *frame["built"][1:]])
    with pytest.warns(
        UserWarning, match=r"3 of 6 rows have a level .* \(x, y\): they count as 'other'"
    ) as caught:
        found = pd.DataFrame(encoder.transform(new), columns=list(encoder.decisions.outputs))
    assert "column 'built': 1 of 6 cells are missing, and none was in training" in str(caught[0].message)
    assert found["city = other"].tolist() == [0, 1, 1, 0, 1, 0]
    assert found["built"][0] == 0.5  # the median
    two = fitted(pd.DataFrame({"city": ["a", "b", "a", "b"]}))
    with pytest.warns(UserWarning, match="they count as none of them"):
        assert two.transform(pd.DataFrame({"city": ["c", "a"]})).tolist() == [[0, 0], [1, 0]]


def test_the_order_of_columns_and_rows_is_of_no_matter(frame):
    encoder = fitted(frame)
    turned = fitted(frame[frame.columns[::-1]])
    names, back = encoder.decisions.outputs, turned.decisions.outputs
    assert sorted(names) == sorted(back)
    found = turned.transform(frame)[:, [back.index(name) for name in names]]
    np.testing.assert_array_equal(found, encoder.transform(frame))
    order = [3, 1, 0, 5, 4, 2]
    assert fitted(frame.iloc[order]).decisions.outputs == names
    np.testing.assert_array_equal(encoder.transform(frame.iloc[order]), encoder.transform(frame)[order])


def test_kinds_of_frames(frame):
    typed = frame.assign(
        city=frame["city"].astype("category"),
        built=pd.to_datetime(frame["built"]),
        storeys=frame["storeys"].astype("Int64"),
        sold=frame["sold"].astype("boolean"),
    )
    encoder = fitted(typed)
    np.testing.assert_array_equal(encoder.transform(typed), fitted(frame).transform(frame))


def test_what_is_wrong_is_named(frame):
    with pytest.raises(ArgumentError, match="unknown category 'ctiy'; did you mean 'city'"):
        ColumnEncoder(categories=["ctiy"]).fit(frame)
    with pytest.raises(ArgumentError, match="most_levels must be at least 1"):
        ColumnEncoder(most_levels=0)
    twice = pd.DataFrame([[1, 2]], columns=["a", "a"])
    with pytest.raises(DataError, match="column 'a' occurs twice"):
        ColumnEncoder().fit(twice)
    with pytest.raises(DataError, match="row 1, column 'x' is inf"):
        ColumnEncoder().fit(pd.DataFrame({"x": [1.0, np.inf]}))
    with pytest.raises(DataError, match=r"no column is left to predict by \('x': every row has the same"):
        ColumnEncoder().fit(pd.DataFrame({"x": [2.0, 2.0]}))
    encoder = fitted(frame)
    with pytest.raises(DataError, match="there is no column 'area'"):
        encoder.transform(frame.drop(columns="area"))
    with pytest.raises(DataError, match="row 2, column 'area' is not a number: 'big'"):
        encoder.transform(frame.assign(area=["1", "2", "big", "4", "5", "6"]))
    with pytest.raises(DataError, match="row 0, column 'sold' is not true or false"):
        encoder.transform(frame.assign(sold=["perhaps"] * 6))
    assert Decisions(()).table().empty


def test_numbers_that_differ_by_rounding_are_the_same():
    """The standard deviation of a constant column may be 2.5e-13."""
    values = np.full(1000, 0.1) * 3
    values[::7] = 0.3
    assert 0 < values.std() < 1e-15
    with pytest.warns(UserWarning, match="'x' is left out: every row has the same value"):
        encoder = ColumnEncoder().fit(pd.DataFrame({"x": values, "y": np.arange(1000) * 1e-6 + 5}))
    assert encoder.decisions.outputs == ("y",)


def test_a_mistake_among_dates_is_no_category():
    days = [f"2024-01-{day:02d}" for day in range(1, 20)]
    with pytest.raises(DataError, match="row 19, column 'day' is not an ISO date .*: 'unknown'"):
        ColumnEncoder().fit(pd.DataFrame({"day": [*days, "unknown"]}))


def test_a_date_where_training_had_a_number_is_refused():
    encoder = ColumnEncoder().fit(pd.DataFrame({"area": [1.0, 2.0, 3.5]}))
    with pytest.raises(DataError, match="row 0, column 'area' is not a number"):
        encoder.transform(pd.DataFrame({"area": pd.to_datetime(["2024-01-01"])}))
