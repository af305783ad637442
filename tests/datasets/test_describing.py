from backthrough.datasets import dataset_names, describe
from backthrough.datasets.describing import describe_entry
from backthrough.datasets.registry import find_entry


def test_every_set_has_a_row_and_nothing_is_read(no_data, monkeypatch):
    monkeypatch.setattr("pathlib.Path.read_bytes", None)
    rows = {row.name: row for row in describe()}
    assert tuple(rows) == dataset_names()
    assert rows["yacht"].availability == "bundled"
    assert rows["yacht"].n_bytes == sum(path.stat().st_size for path in rows["yacht"].paths) > 0
    assert rows["mnist"].availability == "fetchable"
    assert rows["mnist"].n_bytes is None
    assert rows["mnist"].paths == ()
    assert rows["tfbind8"].availability == "by hand"
    assert rows["tfbind8"].licence.startswith("unknown")


def test_found_only_when_complete(no_data):
    entry = find_entry("mnist")
    (no_data / "mnist").mkdir(parents=True)
    for number, file in enumerate(entry.files):
        assert describe_entry(entry).availability == "fetchable"
        (no_data / file.path).write_bytes(bytes(number))
    row = describe_entry(entry)
    assert row.availability == "found"
    assert row.n_bytes == 0 + 1 + 2 + 3
