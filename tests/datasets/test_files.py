import gzip
import hashlib

import numpy as np
import pytest

from backthrough.core import DataError
from backthrough.datasets.digests import content_digest
from backthrough.datasets.files import read_content, read_verified


def test_plain_and_compressed_files_have_one_digest(tmp_path):
    text = b"some text\n" * 100
    (tmp_path / "a.txt").write_bytes(text)
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(text))
    sha256 = hashlib.sha256(text).hexdigest()
    assert read_verified(tmp_path / "a.txt", sha256) == text
    assert read_verified(tmp_path / "a.txt.gz", sha256) == text


def test_npz_is_verified_whatever_its_compression(tmp_path):
    arrays = {"x": np.arange(5), "names": np.array(["a", "bc"])}
    np.savez(tmp_path / "stored.npz", **arrays)
    np.savez_compressed(tmp_path / "packed.npz", **arrays)
    sha256 = content_digest(arrays)
    for name in ("stored.npz", "packed.npz"):
        np.testing.assert_array_equal(read_verified(tmp_path / name, sha256)["x"], arrays["x"])


def test_other_content_names_file_and_both_digests(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"other")
    found, expected = hashlib.sha256(b"other").hexdigest(), "0" * 64
    with pytest.raises(
        DataError, match=rf"a\.txt does not hold what it should.*{found}, expected {expected}"
    ):
        read_verified(path, expected)


@pytest.mark.parametrize("cut", [-10, 30])
def test_cut_off_gzip_is_named(tmp_path, cut):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(np.random.default_rng(0).bytes(1000))[:cut])
    with pytest.raises(DataError, match=r"a\.gz is damaged or cut off"):
        read_content(path)


def test_flipped_byte_in_gzip_is_named(tmp_path):
    content = bytearray(gzip.compress(np.random.default_rng(0).bytes(1000)))
    content[500] ^= 0xFF
    path = tmp_path / "a.gz"
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"a\.gz is damaged or cut off"):
        read_content(path)


def test_cut_off_and_flipped_npz_are_named(tmp_path):
    whole = tmp_path / "whole.npz"
    np.savez_compressed(whole, x=np.random.default_rng(0).normal(size=500))
    content = bytearray(whole.read_bytes())
    cut = tmp_path / "cut.npz"
    cut.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"cut\.npz is damaged or cut off"):
        read_content(cut)
    content[len(content) // 2] ^= 0xFF
    flipped = tmp_path / "flipped.npz"
    flipped.write_bytes(content)
    with pytest.raises(DataError, match=r"flipped\.npz"):
        read_content(flipped)


def test_missing_file_and_folder_are_named(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*none\.txt: No such file"):
        read_content(tmp_path / "none.txt")
    with pytest.raises(DataError, match=r"cannot read .*: Is a directory"):
        read_content(tmp_path)
