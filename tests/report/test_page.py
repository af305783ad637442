import io
import json
import re
from html.parser import HTMLParser

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

from backthrough.core import ArgumentError, DivergenceError, RunError
from backthrough.report import About, write_page
from backthrough.report.charts import line_chart
from backthrough.train import Batches, Best, Headline, Number, Run, fit
from backthrough.train.plot_style import readable_in_the_dark

VOID = {"meta", "img", "line", "polyline", "polygon", "circle", "br"}


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
    run.figures.save_images("grid", np.zeros((1, 2, 4, 4)), caption='A "grid" & more')
    figure, axes = plt.subplots()
    axes.plot([1, 2])
    run.figures.save_plot("plot", figure, caption="A plot.")
    plt.close(figure)
    numbers = [Number(f"n{index}", float(index), "", "another") for index in range(8)]
    headline = Headline("The bound is <good>.", "bound", "plot.svg")
    run.save_result([*numbers, Number("bound", -1.5, "nats", "over <all>", 0.25, 10)], headline=headline)
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
    assert "A &#34;grid&#34; &amp; more" in page
    assert page.count('<svg class="chart"') == 2  # loss (train and valid together) and lone
    places = [
        page.index(text) for text in ("The bound is &lt;good&gt;.", "A plot.", "-1.50 ±", "n0", "3 more")
    ]
    assert places == sorted(places)  # headline, picture, the headline's number, others, the rest folded
    assert page.index("3 more") < page.index("A &#34;grid&#34;")
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page


def shown(run, tmp_path):
    return write_page([run.path], tmp_path / "page.html").read_text()


def test_how_far_a_run_without_a_result_has_come(tmp_path):
    def train(name, n_steps, **options):
        run = Run(tmp_path / name, config={})
        step = lambda state, batch, *, key: (state + 1, {"loss": state})  # noqa: E731
        batches = Batches(np.zeros(4, np.float32), 2, seed=0)
        fit(step, jnp.float32(0), batches, n_steps=n_steps, key=jax.random.key(0), run=run, **options)
        return run

    assert "has not begun to train" in shown(Run(tmp_path / "new", config={}), tmp_path)
    run = train("done", 30)
    assert "The training is finished (30 of 30 steps)" in shown(run, tmp_path)
    worse = {"evaluate": lambda state, *, key: {"error": state}, "evaluate_every": 5}
    run = train("patient", 30, best=Best("error", larger_is_better=False, patience=1), **worse)
    assert "The training is finished (10 of 30 steps)" in shown(run, tmp_path)
    with pytest.raises(DivergenceError):
        train("failed", 30, evaluate=lambda state, *, key: {"error": np.nan}, evaluate_every=20)
    last = Run(tmp_path / "failed", config={}, resume=True)
    assert "has not finished: 20 of 30 steps are saved" in shown(last, tmp_path)


def test_a_headline_names_what_is_there(tmp_path):
    run = Run(tmp_path / "run", config={})
    number = Number("bound", 1.0, "", "")
    with pytest.raises(ArgumentError, match="unknown number of the headline 'bond'; did you mean 'bound'"):
        run.save_result([number], headline=Headline("", "bond"))
    with pytest.raises(ArgumentError, match=r"unknown picture of the headline 'plot.svg'"):
        run.save_result([number], headline=Headline("", "bound", "plot.svg"))


def test_cards_lead_to_the_sections(run, tmp_path):
    about = {"<b>mine</b>": About("The method", "What it <does>.")}
    page = write_page([run.path], tmp_path / "page.html", introduction="First.", about=about).read_text()
    assert '<a class="card" href="#run-1"><h2>The method</h2><p>What it &lt;does&gt;.</p>' in page
    assert '<article id="run-1"><h2>The method</h2>' in page
    assert "<b>-1.50 ± 0.25 nats</b> bound" in page


def test_a_plot_has_colours_for_a_dark_page():
    figure = Figure()
    axes = figure.subplots()
    axes.plot([1, 2], color="#0a62a8")
    axes.plot([2, 1], color="#333333")
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True)
    dark = readable_in_the_dark(text.getvalue())
    for colour in ("#0a62a8", "#333333"):
        (rule,) = re.findall(rf'\[style\*="stroke: {colour}"\]{{stroke:(#......)!important}}', dark)
        assert relative_luminance(rule) > 0.3  # a contrast of at least 5 on the page's #16181b
    many = Figure()
    for index in range(40):
        many.gca().plot([index], [0], "o", color=plt.cm.viridis(index / 40))
    text = io.StringIO()
    many.savefig(text, format="svg", transparent=True)
    # a colour map keeps its hues: rules for greys only
    assert len(re.findall(r"!important", readable_in_the_dark(text.getvalue()))) < 10


def relative_luminance(colour):
    """Of WCAG 2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


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
    x, y = zip(*(map(float, pair.split(",")) for pair in chart.curves[0].points.split()), strict=True)
    np.testing.assert_allclose(np.diff(x), np.diff(x)[0], rtol=0.01)
    assert y[0] > y[1] > y[2]
    data = json.loads(chart.data)
    assert data["series"] == [[[0, 50, 100], [1, 2, 3]]]


def test_a_wild_start_does_not_set_the_axis_and_long_curves_are_thinned_openly():
    steps = list(range(5000))
    chart = line_chart("loss", {"train": (steps, [1e9] + [1 + t / 5000 for t in steps[1:]])})
    assert chart.notes == ["The first values lie outside.", "Shown thinned to 1,000 points."]
    one = line_chart("loss", {"train": ([1], [3.0])})
    assert one.notes == []
    assert one.curves[0].dot is not None
