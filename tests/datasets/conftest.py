import os
from pathlib import Path

import pytest

from backthrough.datasets import locate

FULL_DATA = os.environ.get(locate.DATA_VARIABLE)


@pytest.fixture
def full_data() -> Path:
    """The folder of the full data sets; tests that need it are skipped where there is none."""
    if not FULL_DATA:
        pytest.skip(f"{locate.DATA_VARIABLE} is not set")
    return Path(FULL_DATA)


@pytest.fixture
def no_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache and no data folder; returns the cache folder."""
    monkeypatch.delenv(locate.DATA_VARIABLE, raising=False)
    cache = tmp_path / "cache"
    monkeypatch.setattr(locate.platformdirs, "user_cache_dir", lambda _: str(cache))
    return cache
