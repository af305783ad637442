import hashlib

import numpy as np

from backthrough.datasets.digests import content_digest


def test_digest_of_bytes_is_their_sha256():
    assert content_digest(b"abc") == hashlib.sha256(b"abc").hexdigest()


def test_digest_of_arrays_does_not_depend_on_order_or_memory_layout():
    a, b = np.arange(6.0).reshape(2, 3), np.array(["x", "yz"])
    assert content_digest({"a": a, "b": b}) == content_digest({"b": b, "a": np.asfortranarray(a)})


def test_digest_of_arrays_is_what_its_docstring_says():
    expected = hashlib.sha256(b"a |u1 (2,)\n\x01\x02" + b"b <f8 ()\n" + bytes(8)).hexdigest()
    assert content_digest({"b": np.array(0.0), "a": np.array([1, 2], np.uint8)}) == expected


def test_digest_of_arrays_sees_name_dtype_shape_and_value():
    base = {"a": np.zeros(4, np.int32)}
    others = (
        {"b": np.zeros(4, np.int32)},
        {"a": np.zeros(4, np.float32)},
        {"a": np.zeros((2, 2), np.int32)},
        {"a": np.array([0, 0, 0, 1], np.int32)},
    )
    assert content_digest(base) not in {content_digest(other) for other in others}
