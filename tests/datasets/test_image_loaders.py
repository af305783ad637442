import struct

import numpy as np
import pytest

from backthrough.core import DataError
from backthrough.datasets import load
from backthrough.datasets.image_loaders import parse_idx, read_bit_packed


def test_idx_is_parsed():
    content = struct.pack(">BBBBII", 0, 0, 8, 2, 2, 3) + bytes(range(6))
    np.testing.assert_array_equal(parse_idx(content), np.arange(6, dtype=np.uint8).reshape(2, 3))


@pytest.mark.parametrize("content", [b"", b"\0\0\x0d\x01\0\0\0\x01abcd", b"PK\x03\x04"])
def test_other_content_is_refused(content):
    with pytest.raises(DataError, match="not an idx file"):
        parse_idx(content)


def test_bits_are_unpacked_in_order():
    row = np.zeros(784, np.uint8)
    row[[0, 9, 783]] = 1
    packed = np.packbits(row[None], axis=1)
    arrays = {"train": packed, "valid": packed, "test": packed, "test_y": np.zeros(1, np.uint8)}
    np.testing.assert_array_equal(read_bit_packed(arrays, licence="", source="").valid, row[None])


def test_small_mnist_is_stratified():
    data = load("mnist-small")
    assert np.bincount(data.train_labels).tolist() == [1000] * 10
    assert np.bincount(data.test_labels).tolist() == [200] * 10
    assert data.train_images.shape == (10000, 28, 28)
    assert data.train_images.max() == 255
