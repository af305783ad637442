import re

import numpy as np
import pytest

from backthrough.report import write_page
from backthrough.report.comparison import find_variants, paired_difference
from backthrough.train import Number, Run


def make(path, *, values=(1.0,), metrics=(), **config):
    run = Run(path, config={"recipe": "mine", **config})
    run.metrics.append(list(metrics))
    if values:
        run.save_result([Number(f"n{i}", value, "nats", "what", 0.5, 10) for i, value in enumerate(values)])
    return run.path


@pytest.fixture
def runs(tmp_path):
    """Two variants with three seeds each; the noise of a seed is shared by both."""
    noise = {0: -1.0, 1: 0.0, 2: 1.0}
    found = []
    for rate, base in ((0.1, 10.0), (0.2, 12.5)):
        for seed, own in noise.items():
            metrics = [{"step": t, "loss": base + own + t} for t in range(1, 4 + seed)]
            path = tmp_path / f"{rate}-{seed}"
            found.append(make(path, values=(base + own,), metrics=metrics, rate=rate, seed=seed, width=7))
    return found


def test_runs_that_differ_in_their_seed_are_one_variant(runs):
    one, other = find_variants(runs)
    assert (one.label, other.label) == ("rate=0.1", "rate=0.2")
    assert one.runs == tuple(runs[:3])
    assert one.seeds == (0, 1, 2)
    (alone,) = find_variants(runs[:2])
    assert alone.label == "all runs"


def test_a_paired_difference_is_free_of_what_a_seed_shares():
    assert paired_difference({0: 1.0, 1: 5.0, 2: 9.0}, {0: 2.0, 1: 6.0, 3: 0.0}) == (1.0, 0.0, 2)
    mean, error, n = paired_difference({0: 0.0, 1: 0.0, 2: 0.0}, {0: 1.0, 1: 2.0, 2: 3.0})
    assert (mean, n) == (2.0, 3)
    assert error == pytest.approx(1 / np.sqrt(3))
    assert paired_difference({0: 1.0}, {0: 3.0}) == (2.0, None, 1)
    assert paired_difference({0: 1.0}, {1: 3.0}) is None
    assert paired_difference({None: 1.0}, {None: 3.0}) is None


def test_the_page_compares_before_it_shows_each(runs, tmp_path):
    page = write_page(runs, tmp_path / "page.html").read_text()
    assert "mine: 6 runs compared" in page
    assert "10.0 ± 1.0 (3 runs)" in page
    assert "2.50 (3 pairs)" in page
    assert "Median of 3 runs; the band holds 80 % of them." in page
    assert page.index("runs compared") < page.index("<h2>mine: 0.1-0</h2>")


def test_a_number_that_one_run_lacks_is_a_dash(tmp_path):
    paths = [make(tmp_path / "a", rate=1, values=(1.0, 2.0)), make(tmp_path / "b", rate=2, values=(1.0,))]
    page = write_page(paths, tmp_path / "page.html").read_text()
    (row,) = re.findall(r'<tr><th scope="row">n1 \(nats\)</th>(.*?)</tr>', page)[:1]
    assert row.endswith('<td class="number">-</td>')
    assert "not finished" not in page


def test_unfinished_runs_and_other_recipes_are_told_apart(tmp_path):
    paths = [make(tmp_path / "a", seed=0, rate=1), make(tmp_path / "b", seed=1, rate=2, values=())]
    page = write_page(paths, tmp_path / "page.html").read_text()
    assert "1.00 ± 0.50 (1 run)" in page
    assert "not finished" in page
    assert "no seed in common" not in page
    other = Run(tmp_path / "c", config={"recipe": "another"}).path
    assert "compared" not in write_page([paths[0], other], tmp_path / "page.html").read_text()
    none = [make(tmp_path / name, values=(), seed=name) for name in "de"]
    assert "None of these runs has saved a result yet" in write_page(none, tmp_path / "page.html").read_text()


def test_copies_of_several_runs_are_put_together(tmp_path):
    metrics = [{"step": 1, "loss": [1.0, 2.0]}, {"step": 2, "loss": [1.0, 3.0]}]
    paths = [make(tmp_path / str(seed), seed=seed, metrics=metrics) for seed in range(2)]
    assert "Median of 4 runs" in write_page(paths, tmp_path / "page.html").read_text()
