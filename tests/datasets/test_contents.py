import numpy as np
import pytest

from backthrough.core import ArgumentError
from backthrough.datasets import Arrays, Dataset


def test_arrays_are_had_by_name():
    data = Arrays({"images": np.zeros(3), "labels": np.ones(3)}, licence="free", source="here")
    assert isinstance(data, Dataset)
    assert data.names == tuple(data) == ("images", "labels")
    assert len(data) == 2
    assert "images" in data
    assert "other" not in data
    with pytest.raises(ArgumentError, match="unknown array 'image'; did you mean 'images'"):
        data["image"]
