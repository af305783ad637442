"""What machines do to a run: full disks, locks, clocks. Kills are in test_kill_resume.py."""

import contextlib
import multiprocessing
import os
import resource
import subprocess
import time

import jax.numpy as jnp
import numpy as np
import pytest

from backthrough.core import RunError
from backthrough.train import load_newest, save_checkpoint
from backthrough.train.metrics import MetricsFile
from train.problem import evaluate, open_run, plain, train

OPTIONS = {"evaluate_every": 7, "log_every": 3, "checkpoint_every": 10}


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 kB that only root can make."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256k", "none", folder], capture_output=True
        ).returncode
    ):
        pytest.skip("needs the right to mount a small file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


def fill(path):
    """Writes until the disk is full."""
    with open(path, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


def test_a_full_disk_leaves_the_earlier_checkpoints_and_resumes(tmp_path, small_disk):
    expected = train(run=open_run(tmp_path / "whole"), evaluate=evaluate, **OPTIONS)
    path = small_disk / "run"

    def filling(state, *, key):
        if int(state["count"]) == 28:  # a checkpoint was written at 20
            fill(small_disk / "filler")
        return evaluate(state, key=key)

    with pytest.raises(
        RunError, match=r"cannot write in .*: No space left on device\. The checkpoints saved"
    ):
        train(run=open_run(path), evaluate=filling, **OPTIONS)
    (small_disk / "filler").unlink()
    resumed = train(run=open_run(path, resume=True), evaluate=evaluate, **OPTIONS)
    assert plain(resumed.state) == plain(expected.state)
    assert resumed.metrics == expected.metrics
    assert not [p for p in path.rglob("*") if p.name.startswith(".tmp-")]


def test_a_quota_leaves_no_part_of_a_row(tmp_path):
    """A file-size limit stands in for the quota; it needs no rights."""
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    rows = [{"step": step, "loss": 0.5} for step in range(100)]
    metrics.append(rows[:10])
    before = metrics.path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 40, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            metrics.append(rows)
        with pytest.raises(OSError, match="File too large"):
            save_checkpoint(tmp_path / "checkpoints", 1, {"a": jnp.zeros(1000)}, config_hash="", records={})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert metrics.path.read_bytes() == before
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_a_read_only_folder_is_named(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() == 0:
        options = ["mount", "-t", "tmpfs", "-o", "ro,size=64k", "none", folder]
        if subprocess.run(options, capture_output=True).returncode:
            pytest.skip("needs the right to mount")
    else:
        folder.chmod(0o500)
    try:
        with pytest.raises(RunError, match=r"cannot write a run in .*: (Read-only file|Permission denied)"):
            open_run(folder / "run")
    finally:
        if os.geteuid() == 0:
            subprocess.run(["umount", folder], check=True)
        else:
            folder.chmod(0o700)


def hold(path, ready, release):
    run = open_run(path)
    ready.set()
    release.wait()
    del run


def test_two_processes_cannot_use_one_run_and_a_dead_one_holds_nothing(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready, release = context.Event(), context.Event()
    other = context.Process(target=hold, args=(tmp_path, ready, release))
    other.start()
    assert ready.wait(60)
    with pytest.raises(RunError, match=rf'in use by another process: {{"process": {other.pid}, "host"'):
        open_run(tmp_path, resume=True)
    other.kill()
    other.join()
    run = open_run(tmp_path, resume=True)
    assert open_run(tmp_path, resume=True).path == run.path  # one process may open it twice


def test_a_clock_that_goes_backwards_changes_nothing(tmp_path, monkeypatch):
    expected = train(run=open_run(tmp_path / "a"), evaluate=evaluate, **OPTIONS)
    now = iter(range(10**6, 0, -1))
    for clock in ("time", "monotonic", "perf_counter"):
        monkeypatch.setattr(time, clock, lambda: float(next(now)))
    found = train(run=open_run(tmp_path / "b"), evaluate=evaluate, **OPTIONS)
    assert plain(found.state) == plain(expected.state)
    assert found.metrics == expected.metrics


@pytest.mark.slow
def test_two_thousand_saves_leak_no_file(tmp_path):
    """More than a process may have open files by default."""
    state = {"a": jnp.arange(3.0)}
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc") else 0
    for step in range(2_000):
        save_checkpoint(tmp_path, step, state, config_hash="", records={})
    assert len(list(tmp_path.iterdir())) == 6
    if descriptors:
        assert len(os.listdir("/proc/self/fd")) == descriptors
    found = load_newest(tmp_path, state, config_hash="")
    assert found.step == 1_999
    np.testing.assert_array_equal(found.state["a"], [0, 1, 2])
