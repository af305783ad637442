import pytest

from train_kill_resume import count_survived


@pytest.mark.parametrize("kills", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_killed_runs_end_as_the_uninterrupted_one(tmp_path, kills):
    survived, early = count_survived(kills, seed=kills, folder=tmp_path)
    assert survived == kills
    assert early >= 1
