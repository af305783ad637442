import json

import pytest

from backthrough.core import DataError
from backthrough.report import Row, read_rows, results_page, write_row
from backthrough.train import with_error


@pytest.mark.parametrize(
    ("bound", "ours", "status"),
    [
        ({"at_least": 1.0}, 1.0, "met"),
        ({"at_least": 1.0}, 0.99, "short"),
        ({"at_most": 1.0}, 1.01, "short"),
        ({"between": [0.8, 2.2]}, 0.8, "met"),
        ({"between": [0.8, 2.2]}, 2.3, "short"),
        ({"at_least": 1.0}, float("nan"), "short"),
        ({"at_most": 1.0}, None, "not run"),
    ],
)
def test_status_is_computed(bound, ours, status):
    assert Row("a", "", bound, "", ours=ours).status == status


def test_a_typed_status_counts_for_nothing(tmp_path):
    row = Row("a.1", "what", {"at_least": 1.0}, "python x.py", ours=0.5)
    write_row(tmp_path, row)
    values = json.loads((tmp_path / "a.1.json").read_text())
    (tmp_path / "a.1.json").write_text(json.dumps({**values, "status": "met"}))
    assert read_rows(tmp_path) == [row]
    assert read_rows(tmp_path)[0].status == "short"


def test_bad_rows_are_named(tmp_path):
    with pytest.raises(DataError, match=r"results row a: bound must be one of"):
        Row("a", "", {"about": 3}, "")
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(DataError, match=r"b.json is not a results row"):
        read_rows(tmp_path)
    (tmp_path / "b.json").write_text(
        '{"id": "b", "what": "", "bound": {"at_most": 1}, "command": "", "colour": "red"}'
    )
    with pytest.raises(DataError, match=r"b.json is not a results row .*colour"):
        read_rows(tmp_path)
    (tmp_path / "b.json").unlink()
    write_row(tmp_path, Row("c", "", {"at_most": 3}, ""))
    (tmp_path / "c.json").rename(tmp_path / "d.json")
    with pytest.raises(DataError, match="a file is named for its row"):
        read_rows(tmp_path)


def test_the_page_shows_every_row():
    page = results_page([Row("x.1", "the what", {"between": [1, 2]}, "python b.py", note="Because.")])
    assert "| **not run** | [x.1](#x-1) |  | 1 to 2 |  |  | the what |" in page
    assert "    python b.py" in page
    assert "Because." in page


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (-104.1234, 0.612, "-104.12 ± 0.61"),
        (1234.5, 23.4, "1,234 ± 23"),
        (0.00123, 0.000045, "0.001230 ± 0.000045"),
        (3.14159265, None, "3.14"),
        (2.0, 0.0, "2"),
        (0.5, 3e-17, "0.500"),
        (0.0, 0.02, "0.000 ± 0.020"),
        (2035.0, None, "2,035"),
        (12345.6, None, "12,300"),
        (-0.00012345, None, "-0.000123"),
        (0.0, None, "0"),
        (1.5e-7, None, "1.5e-07"),
        (float("nan"), None, "nan"),
        (1.0, float("inf"), "1"),
    ],
)
def test_numbers_are_shown_to_the_precision_of_their_error(value, error, text):
    assert with_error(value, error) == text


def test_the_committed_table_is_the_one_that_the_rows_give(request):
    root = request.config.rootpath
    assert (root / "docs/results.md").read_text() == results_page(read_rows(root / "results"))


def test_a_bar_in_a_text_does_not_end_its_cell():
    page = results_page([Row("a", "largest |z|", {"at_most": 6}, "x", ours=1.0)])
    (line,) = [line for line in page.splitlines() if "[a](#a)" in line]
    assert r"largest \|z\|" in line
    assert line.replace(r"\|", "").count("|") == 8


def test_what_falls_short_comes_first_and_then_a_table_a_room():
    rows = [
        Row("ode.a", "", {"at_most": 1}, "x", ours=0.5),
        Row("train.b", "", {"at_most": 1}, "x", ours=2.0),
        Row("train.c", "", {"at_most": 1}, "x"),
    ]
    page = results_page(rows)
    places = [page.index(f"## {title}") for title in ("What falls short", "What has not", "ode", "train")]
    assert places == sorted(places)
    assert page.count("[train.b](#train-b)") == 2
    assert "What falls short" not in results_page(rows[:1])
