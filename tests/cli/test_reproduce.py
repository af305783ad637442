import json

import pytest

from backthrough.cli.main import main
from backthrough.report import Row, read_rows, write_row

SCRIPT = """
import json
print("measuring")
peer = {"name": "other", "value": 0.4}
print(json.dumps({"a.1": {"ours": 0.5, "spread": 0.1, "peer": peer}, "a.2": {"ours": 3}}))
"""


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "docs").mkdir()
    (tmp_path / "script.py").write_text(SCRIPT)
    write_row(tmp_path / "results", Row("a.1", "first", {"at_least": 0.9}, "python script.py", paper="0.95"))
    write_row(tmp_path / "results", Row("a.2", "second", {"at_most": 3}, "python script.py"))
    return tmp_path


def test_the_table_is_written_from_what_is_measured(checkout, capsys):
    assert main(["reproduce", "--table-only"]) == 0
    assert "2 not run" in (checkout / "docs/results.md").read_text()
    assert main(["reproduce", "a.1"]) == 0
    first, second = read_rows(checkout / "results")
    assert (first.status, first.ours, first.peer) == ("short", 0.5, {"name": "other", "value": 0.4})
    assert second.status == "not run"
    assert main(["reproduce"]) == 0
    assert read_rows(checkout / "results")[1].status == "met"
    table = (checkout / "docs/results.md").read_text()
    assert "1 met, 1 short." in table
    assert "| 0.50 ± 0.10 | ≥ 0.9 | 0.95 | other: 0.400 | first |" in table


def test_what_cannot_be_measured_is_named(checkout, capsys):
    assert main(["reproduce", "a.3"]) == 2
    assert "unknown row or recipe 'a.3'" in capsys.readouterr().err
    (checkout / "script.py").write_text("print('no json')")
    assert main(["reproduce", "a.1"]) == 1
    assert "prints is no JSON object" in capsys.readouterr().err
    (checkout / "script.py").write_text("import sys; sys.exit(3)")
    assert main(["reproduce", "a.1"]) == 1
    assert "exit code 3" in capsys.readouterr().err
    (checkout / "script.py").write_text("print('{}')")
    assert main(["reproduce", "a.1"]) == 1
    assert "measured no a.1" in capsys.readouterr().err
    assert all(row.status == "not run" for row in read_rows(checkout / "results"))


def test_outside_a_checkout_nothing_is_overwritten(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/results.md").write_text("mine")
    assert main(["reproduce"]) == 2
    assert "run this in a checkout" in capsys.readouterr().err
    assert (tmp_path / "docs/results.md").read_text() == "mine"


def test_a_recipe_row_is_the_mean_over_its_seeds(checkout, monkeypatch):
    from backthrough.cli import reproduce

    calls = []

    def pretend(words):
        calls.append(words)
        folder, seed = words[words.index("--run-dir") + 1], int(words[words.index("--seed") + 1])
        (checkout / folder).mkdir(parents=True)
        number = {"name": "bound", "value": -100.0 - seed}
        (checkout / folder / "result.json").write_text(json.dumps({"numbers": [number]}))
        return ""

    monkeypatch.setattr(reproduce, "_call", pretend)
    row = Row("v.1", "x", {"at_least": -102}, "backthrough run vae-mnist", seeds=(1, 3), number="bound")
    write_row(checkout / "results", row)
    assert main(["reproduce", "vae-mnist"]) == 0
    measured = read_rows(checkout / "results")[-1]
    assert (measured.ours, measured.spread, measured.status) == (-102.0, pytest.approx(2**0.5), "met")
    assert len(calls) == 2
