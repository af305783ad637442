"""The recipe of a forest on a table, for a moment."""

import json
from dataclasses import replace

import numpy as np
import pytest

from backthrough.core import ArgumentError
from backthrough.recipes.explain.fido_table import recipe
from backthrough.recipes.explain.fido_table.config import Config
from backthrough.train import Run

TINY = Config(infills=("marginal",), n_trees=10, n_rows=3, n_shown=1, n_draws=1)


def test_columns_of_one_measurement_move_together():
    table = recipe.read_table(0)
    assert table.units.names[:3] == ("radius", "texture", "perimeter")
    groups = table.units.groups
    assert groups is not None
    assert groups[0] == (0, 10, 20)
    assert sorted(i for group in groups for i in group) == list(range(30))
    assert len(table.x_train) + len(table.x_test) == 569
    assert np.mean(table.y_test == recipe.MALIGNANT) == pytest.approx(212 / 569, abs=0.01)


@pytest.mark.slow
def test_it_draws_bars_and_measures_the_map(tmp_path):
    recipe.run(TINY, Run(tmp_path, config={}))
    result = json.loads((tmp_path / "result.json").read_text())
    found = {number["name"]: number for number in result["numbers"]}
    assert found["accuracy of the forest"]["value"] > 0.85
    assert found["success of the SSR (marginal)"]["value"] > 0.5
    assert 0 < found["deletion area (FIDO, marginal)"]["value"] < 1
    assert {path.name for path in (tmp_path / "figures").glob("*.svg")} == {"rows.svg", "deletion.svg"}
    (table,) = result["tables"]
    assert [row[1] for row in table["rows"]] == ["SSR", "SDR"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"infills": ()}, "at least one name"),
        ({"infills": ("gauss",)}, "did you mean 'gaussian'"),
        ({"area_cost": 0.0}, "area_cost must be"),
        ({"n_trees": 0}, "n_trees must be at least 1"),
    ],
)
def test_wrong_settings_are_refused(change, message, tmp_path):
    with pytest.raises(ArgumentError, match=message):
        recipe.run(replace(TINY, **change), Run(tmp_path, config={}))
