"""Digests of what a file holds, whatever its compression."""

import hashlib
from collections.abc import Mapping

import numpy as np
from jaxtyping import Shaped

Content = bytes | Mapping[str, Shaped[np.ndarray, "..."]]
"""What a data file holds: its bytes, decompressed, or the arrays of an `.npz` by name."""


def content_digest(content: Content) -> str:
    """SHA-256, in hexadecimal, of bytes or of named arrays.

    Arrays are taken sorted by name; each contributes its name, `dtype.str` and shape on one line and then its
    bytes in C order. So two `.npz` files of equal arrays have one digest, however they were compressed.
    """
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    digest = hashlib.sha256()
    for name in sorted(content):
        array = content[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
