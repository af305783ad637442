import pickle
import zipfile

import numpy as np
import pytest

from backthrough.core import DataError
from backthrough.datasets import read_arrays

NUMBERS = np.random.default_rng(0).normal(size=(20, 30))


def test_npz_and_npy_are_read(tmp_path):
    np.savez(tmp_path / "two.npz", x=NUMBERS, names=np.array(["a", "b"]))
    data = read_arrays(tmp_path / "two.npz")
    np.testing.assert_array_equal(data["x"], NUMBERS)
    assert data.names == ("x", "names")
    assert data.source.endswith("two.npz")
    assert not data["x"].flags.writeable
    np.save(tmp_path / "one.npy", NUMBERS)
    np.testing.assert_array_equal(read_arrays(str(tmp_path / "one.npy"))["array"], NUMBERS)


def test_objects_and_pickles_are_refused(tmp_path):
    objects = np.array([{"a": 1}], dtype=object)
    np.savez(tmp_path / "o.npz", good=NUMBERS, bad=objects)
    with pytest.raises(DataError, match=r"o\.npz: array 'bad' holds Python objects, which are refused"):
        read_arrays(tmp_path / "o.npz")
    np.save(tmp_path / "o.npy", objects)
    with pytest.raises(DataError, match=r"o\.npy: array 'array' holds Python objects"):
        read_arrays(tmp_path / "o.npy")
    (tmp_path / "p.npy").write_bytes(pickle.dumps([1]))
    with pytest.raises(DataError, match=r"p\.npy is a pickle, which is refused"):
        read_arrays(tmp_path / "p.npy")


@pytest.mark.parametrize("length", [8, 60, 1000])
def test_cut_off_npy_is_named(tmp_path, length):
    path = tmp_path / "a.npy"
    np.save(path, NUMBERS)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DataError, match=r"a\.npy: array 'array' is damaged or cut off"):
        read_arrays(path)


def test_cut_off_npz_is_named(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=NUMBERS)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"a\.npz is damaged or cut off"):
        read_arrays(path)


def test_other_files_are_named(tmp_path):
    (tmp_path / "empty.npy").write_bytes(b"")
    with pytest.raises(DataError, match=r"empty\.npy is empty"):
        read_arrays(tmp_path / "empty.npy")
    (tmp_path / "text.npy").write_text("1,2,3")
    with pytest.raises(DataError, match=r"text\.npy is neither a \.npy nor a \.npz"):
        read_arrays(tmp_path / "text.npy")
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(DataError, match=r"other\.npz: 'readme\.txt' inside it is not an array"):
        read_arrays(tmp_path / "other.npz")
    zipfile.ZipFile(tmp_path / "none.npz", "w").close()
    with pytest.raises(DataError, match=r"none\.npz holds no arrays"):
        read_arrays(tmp_path / "none.npz")
    with pytest.raises(DataError, match=r"cannot read .*missing\.npz: No such file"):
        read_arrays(tmp_path / "missing.npz")
