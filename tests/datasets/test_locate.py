import pytest

from backthrough.core import DataError
from backthrough.datasets import find_entry, load
from backthrough.datasets.entry import DataFile, Entry
from backthrough.datasets.locate import DATA_VARIABLE, locate
from backthrough.datasets.text_loaders import read_text

ENTRY = Entry(
    "tiny", "s", "s", "free", "c", "https://example.org", (DataFile("tiny/a.txt", "0" * 64),), read_text
)


def test_the_named_folder_comes_before_the_cache(no_data, tmp_path, monkeypatch):
    (no_data / "tiny").mkdir(parents=True)
    in_cache = no_data / "tiny" / "a.txt"
    in_cache.write_text("cache")
    assert locate(ENTRY) == (in_cache,)
    named = tmp_path / "named" / "tiny" / "a.txt"
    named.parent.mkdir(parents=True)
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "named"))
    assert locate(ENTRY) == (in_cache,)
    named.write_text("named")
    assert locate(ENTRY) == (named,)


def test_missing_mnist_says_how_to_fetch_and_what_is_bundled(no_data):
    with pytest.raises(DataError) as caught:
        load("mnist")
    message = str(caught.value)
    assert "mnist/train-images-idx3-ubyte.gz" in message
    assert "backthrough data fetch mnist" in message
    assert DATA_VARIABLE in message
    assert "mnist-small comes with the package" in message


def test_missing_by_hand_says_where_and_what(no_data):
    with pytest.raises(DataError) as caught:
        load("omniglot")
    message = str(caught.value)
    for part in ("https://github.com/brendenlake/omniglot", "omniglot/omniglot_28x28.npz", DATA_VARIABLE):
        assert part in message
    assert find_entry("omniglot").files[0].sha256 in message
    assert "data fetch" not in message


def test_a_variable_that_names_no_folder_is_said(no_data, tmp_path, monkeypatch):
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=f"{DATA_VARIABLE} names .*nowhere, which is not a folder"):
        load("mnist")


def test_partly_present_files_name_only_the_missing(no_data):
    (no_data / "mnist").mkdir(parents=True)
    (no_data / "mnist" / "train-images-idx3-ubyte.gz").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        load("mnist")
    assert "train-images" not in str(caught.value)
    assert "t10k-labels-idx1-ubyte.gz" in str(caught.value)


def test_bundled_files_do_not_depend_on_the_variable(no_data, tmp_path, monkeypatch):
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "nowhere"))
    assert load("yacht").x.shape == (308, 6)
