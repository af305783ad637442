import dataclasses
import hashlib

import numpy as np
import pytest

from backthrough.core import ArgumentError, DataError
from backthrough.datasets import Dataset, dataset_names, find_entry, load
from backthrough.datasets.arrays import read_npz
from backthrough.datasets.entry import DataFile, Entry
from backthrough.datasets.loading import load_entry
from backthrough.datasets.registry import ENTRIES
from backthrough.datasets.text_loaders import read_text

BUNDLED = [name for name, entry in ENTRIES.items() if entry.bundled]
REGRESSION = [name for name, entry in ENTRIES.items() if "n_splits" in entry.options]


def tiny(sha256: str) -> Entry:
    return Entry(
        "tiny", "s", "s", "free", "Somebody.", "https://example.org", (DataFile("a.txt", sha256),), read_text
    )


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_sets_load_frozen_and_read_only(name, no_data):
    data = load(name)
    assert isinstance(data, Dataset)
    assert data.licence == find_entry(name).licence
    assert data.source == find_entry(name).source
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.licence = "mine"
    for field in dataclasses.fields(data):
        value = getattr(data, field.name)
        if isinstance(value, np.ndarray):
            assert not value.flags.writeable


@pytest.mark.parametrize("name", [name for name in dataset_names() if name not in BUNDLED])
def test_full_sets_load(name, full_data):
    data = load(name)
    assert isinstance(data, Dataset)


def test_wrong_content_is_never_used(no_data):
    no_data.mkdir()
    (no_data / "a.txt").write_text("changed")
    with pytest.raises(DataError, match=r"a\.txt does not hold what it should"):
        load_entry(tiny(hashlib.sha256(b"original").hexdigest()))
    (no_data / "a.txt").write_text("original")
    assert load_entry(tiny(hashlib.sha256(b"original").hexdigest())).text == "original"


def test_unknown_name_and_options_are_refused():
    with pytest.raises(ArgumentError, match="did you mean 'yacht'"):
        load("yatch")
    with pytest.raises(ArgumentError, match="co2 takes no options, got 'n_splits'"):
        load("co2", n_splits=3)
    with pytest.raises(ArgumentError, match=r"unknown option of yacht 'splits'; did you mean 'n_splits'"):
        load("yacht", splits=3)
    with pytest.raises(ArgumentError, match="n_splits must be at least 1, got 0"):
        load("yacht", n_splits=0)


@pytest.mark.parametrize("name", REGRESSION)
def test_regression_tables_and_splits_equal_the_published_files(name, full_data):
    path = full_data / "uci" / f"{name}.npz"
    with open(path, "rb") as file:
        published = read_npz(file, path)
    data = load(name)
    np.testing.assert_array_equal(data.x, published["X"])
    np.testing.assert_array_equal(data.y, published["y"])
    np.testing.assert_array_equal(data.train_index, published["train_idx"])
    np.testing.assert_array_equal(data.test_index, published["test_idx"])
    assert data.n_hidden == published["n_hidden"]
    assert len(data.feature_names) == data.x.shape[1]


def test_mnist_has_the_published_moments(full_data):
    data = load("mnist")
    assert data.train_images.shape == (60000, 28, 28)
    assert data.test_labels.shape == (10000,)
    pixels = data.train_images / np.float32(255)
    assert np.mean(pixels, dtype=np.float64) == pytest.approx(0.130660, abs=1e-6)


def test_small_mnist_is_part_of_mnist(full_data):
    small, full = load("mnist-small"), load("mnist")
    rows = {image.tobytes(): label for image, label in zip(full.test_images, full.test_labels, strict=True)}
    for image, label in zip(small.test_images, small.test_labels, strict=True):
        assert rows[image.tobytes()] == label


def test_binarized_mnist_has_the_published_counts(full_data):
    data = load("binarized-mnist")
    assert [int(part.sum()) for part in (data.train, data.valid, data.test)] == [5118041, 1028036, 1038896]


def test_small_genome_is_part_of_the_large(full_data):
    (part,), (whole,) = load("hg38-chr1-100kb").sequences, load("hg38-chr1-1mb").sequences
    assert whole[800_000:900_000] == part


def test_probe_intensities_and_splice_junctions(full_data):
    probes = load("gcpbm-cbf1")
    assert probes.names[0] == "NCP_N3582R"
    assert probes.values[0] == 1384
    assert {len(sequence) for sequence in probes.sequences} == {36}
    junctions = load("uci-splice")
    assert junctions.class_names == ("EI", "IE", "N")
    assert np.bincount(junctions.labels).tolist() == [767, 768, 1655]
    assert {len(sequence) for sequence in junctions.sequences} == {60}


def test_messages_and_oracles(full_data):
    spam = load("sms-spam")
    assert spam.class_names == ("ham", "spam")
    assert np.bincount(spam.labels).tolist() == [4827, 747]
    oracles = load("hypernet-oracles")
    assert oracles["n100_h10/lam_opt"].shape == (10,)
    np.testing.assert_allclose(oracles["n100_h10/lam_opt"], oracles["lam_opt_10"], rtol=1e-6)


def test_monti_ratings(full_data):
    flixster = load("flixster-monti")
    assert flixster.is_test.sum() == 2617
    assert flixster.item_edges.shape == (50918, 2)
    assert flixster.rating.min() == 0.5
    assert flixster.rating.max() == 5
    assert load("douban-monti").item_edges is None
