import re
from pathlib import Path, PurePosixPath
from urllib.parse import urlparse

import pytest

from backthrough.core import ArgumentError
from backthrough.datasets import dataset_names, find_entry
from backthrough.datasets.locate import BUNDLED_FOLDER
from backthrough.datasets.registry import ENTRIES

BUNDLED = {
    "mnist-small", "concrete", "energy", "power-plant", "yacht", "co2", "sunspots", "lynx-hare",
    "ml-latest-small", "hg38-chr1-100kb", "cell-windows-small",
}  # fmt: skip
BUNDLED_LIMIT = 8_000_000


def test_names_are_kebab_case_and_distinct():
    names = dataset_names()
    assert len(names) == 39
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) for name in names)


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(ArgumentError, match="unknown data set 'minst'; did you mean 'mnist'"):
        find_entry("minst")


@pytest.mark.parametrize("name", dataset_names())
def test_entry_is_complete(name):
    entry = find_entry(name)
    for text in (entry.summary, entry.shapes, entry.licence, entry.citation, entry.home, entry.source):
        assert text.strip()
    assert "\n" not in entry.summary
    assert urlparse(entry.home).scheme in ("http", "https")
    assert entry.files
    for file in entry.files:
        assert re.fullmatch("[0-9a-f]{64}", file.sha256)
        path = PurePosixPath(file.path)
        assert not path.is_absolute()
        assert ".." not in path.parts
        assert file.url is None or urlparse(file.url).scheme == "https"
    assert entry.smaller is None or ENTRIES[entry.smaller].bundled


def test_no_two_files_share_a_path():
    paths = [file.path for entry in ENTRIES.values() for file in entry.files]
    assert len(set(paths)) == len(paths)


def test_bundled_sets_are_those_promised_and_small():
    assert {name for name, entry in ENTRIES.items() if entry.bundled} == BUNDLED
    size = sum(path.stat().st_size for path in BUNDLED_FOLDER.rglob("*") if path.is_file())
    assert size <= BUNDLED_LIMIT


def test_every_bundled_file_belongs_to_an_entry_or_is_a_notice():
    known = {file.path for entry in ENTRIES.values() if entry.bundled for file in entry.files}
    present = {path.relative_to(BUNDLED_FOLDER).as_posix() for path in BUNDLED_FOLDER.rglob("*.*")}
    assert present - known == {"NOTICE.md", "ratings/ml-latest-small/README_grouplens.txt"}
    notice = (BUNDLED_FOLDER / "NOTICE.md").read_text()
    for path in known:
        assert PurePosixPath(path).parent.as_posix() in notice


def test_the_page_for_users_says_how_to_get_each_set():
    page = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text()
    for entry in ENTRIES.values():
        how = "bundled" if entry.bundled else "fetch" if entry.fetchable else "by hand"
        row = next(line for line in page.splitlines() if line.startswith(f"| `{entry.name}` |"))
        assert f"| {how} | {entry.licence} |" in row
