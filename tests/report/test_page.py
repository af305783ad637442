import json
import re
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import numpy as np
import pytest

from backthrough.core import RunError
from backthrough.report import write_page
from backthrough.report.charts import line_chart
from backthrough.train import Number, Run

VOID = {"meta", "img", "line", "polyline", "circle", "br"}


class Balanced(HTMLParser):
    """Fails on a tag that is closed out of order; collects addresses."""

    def __init__(self):
        super().__init__()
        self.open, self.addresses = [], []

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href")]

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag, attributes):
        pass


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path / "a run", config={"recipe": "<b>mine</b>", "rate": 0.1})
    run.metrics.append([{"step": t, "loss/train": 1 / t, "lone": float(t)} for t in range(1, 60)])
    run.metrics.append([{"step": 50, "loss/valid": 0.5}])
    run.save_result([Number("bound", -1.5, "nats", "over <all>", 0.25, 10)])
    run.figures.save_images("grid", np.zeros((1, 2, 4, 4)), caption='A "grid" & more')
    figure, axes = plt.subplots()
    axes.plot([1, 2])
    run.figures.save_plot("plot", figure, caption="A plot.")
    plt.close(figure)
    return run


def test_a_page_is_whole_and_needs_nothing_else(run, tmp_path):
    page = write_page([run.path], tmp_path / "page.html").read_text()
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    assert parser.addresses
    assert all(address.startswith("data:") for address in parser.addresses)
    assert "&lt;b&gt;mine&lt;/b&gt;" in page
    assert "-1.50 ± 0.25 nats" in page
    assert "A &quot;grid&quot; &amp; more" in page
    assert page.count('<svg class="chart"') == 2  # loss (train and valid together) and lone
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page


def test_an_unfinished_run_is_shown_as_such(tmp_path):
    run = Run(tmp_path / "new", config={})
    assert "has not finished" in write_page([run.path], tmp_path / "page.html").read_text()


def test_what_is_no_run_is_refused(run, tmp_path):
    with pytest.raises(RunError, match="nothing holds no run"):
        write_page([tmp_path / "nothing"], tmp_path / "page.html")
    (run.path / "result.json").write_text("{")
    with pytest.raises(RunError, match=r"result.json cannot be read as JSON"):
        write_page([run.path], tmp_path / "page.html")
    (run.path / "result.json").write_text("{}")
    with pytest.raises(RunError, match=r"result.json is damaged: it holds no numbers"):
        write_page([run.path], tmp_path / "page.html")
    (run.path / "environment.json").write_text("[]")
    with pytest.raises(RunError, match=r"environment.json is damaged"):
        write_page([run.path], tmp_path / "page.html")


def test_a_chart_places_its_points():
    chart = line_chart("loss", {"train": ([0, 50, 100], [1.0, 2.0, 3.0])})
    (points,) = re.findall(r'points="([^"]*)"', chart)
    x, y = zip(*(map(float, pair.split(",")) for pair in points.split()), strict=True)
    np.testing.assert_allclose(np.diff(x), np.diff(x)[0], rtol=0.01)
    assert y[0] > y[1] > y[2]
    data = json.loads(re.search(r'data-chart="([^"]*)"', chart)[1].replace("&quot;", '"'))
    assert data["series"] == [[[0, 50, 100], [1, 2, 3]]]


def test_a_wild_start_does_not_set_the_axis_and_long_curves_are_thinned_openly():
    steps = list(range(5000))
    chart = line_chart("loss", {"train": (steps, [1e9] + [1 + t / 5000 for t in steps[1:]])})
    assert "The first values lie outside." in chart
    assert "thinned to 1,000 points" in chart
    one = line_chart("loss", {"train": ([1], [3.0])})
    assert "lie outside" not in one
    assert "<circle" in one
