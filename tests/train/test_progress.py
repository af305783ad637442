import re

import pytest

from backthrough.train import ProgressBar, progress

METRICS = {"loss": 123.456, "gradient norm": 0.01}


def shown(capsys, monkeypatch, width, label="training", total=2_000_000):
    """The line that stands in the terminal at the end."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    with ProgressBar(label, total) as bar:
        bar.update(total // 2, 1234.0, METRICS)
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err).replace("\r", "\n").split("\n")
    return [line for line in lines if line.strip()][-1]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("label", ["training", "6 x 50 trainings"])
def test_bar_count_and_time_stay_in_every_terminal(capsys, monkeypatch, width, label):
    line = shown(capsys, monkeypatch, width, label)
    assert len(line) <= width
    assert line.startswith(label[:5])
    assert line.count("━") + line.count("╸") + line.count("╺") >= 5
    assert "1000000/2000000" in line
    assert re.search(r"-:--:--|\d:\d\d:\d\d", line)
    assert ("1,234 steps/" in line) == (width >= 80)
    assert ("gradient norm 0.01" in line) == (width == 120)


def test_no_terminal_gets_a_plain_line_now_and_then(capsys, monkeypatch):
    clock = iter((0.0, 10.0, 29.0, 40.0, 60.0, 75.0))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with ProgressBar("training", 5000, 1000) as bar:
        for done in (1100, 1500, 2000, 2100, 4000):
            bar.update(done, 100.0, METRICS)
    assert capsys.readouterr().err.splitlines() == [
        "training: step 2,000 of 5,000, 0:02:00 left, loss 123.5",
        "training: step 4,000 of 5,000, 0:00:25 left, loss 123.5",
    ]


def test_a_short_job_writes_nothing_where_there_is_no_terminal(capsys):
    with ProgressBar("training", 3) as bar:
        for done in (1, 2, 3):
            bar.update(done)
    assert capsys.readouterr().err == ""
