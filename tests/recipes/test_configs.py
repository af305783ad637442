from dataclasses import dataclass
from pathlib import Path

import pytest

from backthrough.core import ArgumentError
from backthrough.recipes.configs import Source, settle_sources, with_saved


@dataclass(frozen=True)
class Config:
    data: Source = "mnist-small"
    name: str = "points.csv"
    layers: tuple[int, ...] = (3, 4)
    rate: float = 0.1


def test_sources_that_are_there_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    Path("points.csv").write_text("")
    config = settle_sources(Config(data="points.csv"))
    assert config == Config(data=str(tmp_path / "points.csv"))  # and `name`, which is no source, stays
    assert settle_sources(Config(data="~/points.csv")) == config
    assert settle_sources(config) == config
    assert settle_sources(Config()) == Config()
    for missing in ("no.csv", "no/folder"):
        with pytest.raises(ArgumentError, match=f"there is no file or folder '{missing}'"):
            settle_sources(Config(data=missing))


def test_what_a_run_has_saved_goes_before_the_defaults():
    saved = {"recipe": "own", "layers": [5, 6], "data": "mnist", "gone": 3}
    assert with_saved(Config(rate=0.2), saved) == Config(data="mnist", layers=(5, 6), rate=0.2)
    assert with_saved(Config(), {}) == Config()
