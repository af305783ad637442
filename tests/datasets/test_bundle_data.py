import importlib.util
from pathlib import Path

import pytest

from backthrough.datasets.digests import content_digest
from backthrough.datasets.files import read_content
from backthrough.datasets.locate import BUNDLED_FOLDER

SCRIPT = Path(__file__).parents[2] / "tools" / "bundle_data.py"


@pytest.fixture(scope="module")
def bundle_data():
    spec = importlib.util.spec_from_file_location("bundle_data", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_bundled_files_are_made_again_alike(full_data, bundle_data):
    made = bundle_data.bundled_files(full_data)
    present = {path.relative_to(BUNDLED_FOLDER).as_posix() for path in BUNDLED_FOLDER.rglob("*.*")}
    assert set(made) == present - {"NOTICE.md"}
    for path, content in made.items():
        assert content_digest(content) == content_digest(read_content(BUNDLED_FOLDER / path)), path


def test_bundled_regression_tables_hold_nothing_but_x_and_y():
    for path in (BUNDLED_FOLDER / "uci").glob("*.npz"):
        assert set(read_content(path)) == {"X", "y"}


def test_encoding_depends_on_nothing_but_the_content(bundle_data, monkeypatch):
    arrays = read_content(BUNDLED_FOLDER / "uci" / "yacht.npz")
    monkeypatch.setattr("time.time", lambda: 2e9)
    assert bundle_data.encode("a.npz", arrays) == bundle_data.encode("a.npz", dict(arrays))
    assert bundle_data.encode("a.gz", b"text")[4:8] == bytes(4)  # no time in the header
