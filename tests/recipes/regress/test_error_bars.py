"""The recipe of error bars, for a moment."""

import json
from dataclasses import replace

import pytest

from backthrough.core import ArgumentError
from backthrough.recipes.regress.error_bars.config import Config
from backthrough.recipes.regress.error_bars.recipe import run
from backthrough.train import Run

TINY = Config(methods=("map",), data="yacht", n_points=20, curve_epochs=2, table_epochs=1)


def test_it_draws_bands_and_counts_how_often_intervals_hold(tmp_path):
    run(TINY, Run(tmp_path, config={}))
    result = json.loads((tmp_path / "result.json").read_text())
    found = {number["name"]: number for number in result["numbers"]}
    assert found["standard deviation of the curve beyond them (map)"]["value"] == 0  # a point has no doubt
    coverage = found["coverage of 90 % intervals"]
    assert 0 <= coverage["value"] <= 1
    assert coverage["n"] == 31
    assert {path.name for path in (tmp_path / "figures").glob("*.svg")} == {"bands.svg", "calibration.svg"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": ()}, "at least one name"),
        ({"methods": ("maps",)}, "did you mean 'map'"),
        ({"table_epochs": 0}, "table_epochs must be at least 1"),
    ],
)
def test_wrong_settings_are_refused(change, message, tmp_path):
    with pytest.raises(ArgumentError, match=message):
        run(replace(TINY, **change), Run(tmp_path, config={}))
