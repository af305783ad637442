"""Two real processes on the loopback, each a run of several.py."""

import json
import pathlib
import re
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from backthrough.core import ArgumentError, RunError
from backthrough.train import join, read_metrics
from backthrough.train.link import Link
from backthrough.train.meeting import find_first, wait_for_others
from backthrough.train.processes import Group
from train.problem import open_run, sharded_step, train

SCRIPT = pathlib.Path(__file__).with_name("several.py")
OPTIONS = {"step": sharded_step, "shards": 4, "evaluate_every": 10, "checkpoint_every": 10, "log_every": 5}


def free_port():
    """A port p such that p and p + 1 are free."""
    while True:
        with socket.create_server(("localhost", 0)) as one:
            port = one.getsockname()[1]
            try:
                socket.create_server(("localhost", port + 1)).close()
            except (OSError, OverflowError):
                continue
            return port


def start(port, process, out, **options):
    command = [sys.executable, SCRIPT, str(port), str(process), out, json.dumps(options)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run_two(out, **options):
    port = free_port()
    return finish([start(port, i, out, **options) for i in range(2)])


def finish(processes):
    """Exit code, output and errors of each."""
    found = []
    for process in processes:
        try:
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()
        found.append((process.returncode, out, err))
    return found


def evaluate(state, *, key):
    return {"valid": float(state["weight"].sum())}


def test_two_processes_give_one_devices_numbers_and_one_reads_their_checkpoints(tmp_path):
    expected = train(run=open_run(tmp_path / "one"), evaluate=evaluate, **OPTIONS)
    two = run_two(tmp_path / "two", fault="SIGINT", faulty=1)  # stops one, which stops both
    for code, _, errors in two:
        assert code == 1
        assert "Interrupted: stopped after step 30 of 60; the state is saved" in errors
    assert not re.search("Terminating process", two[0][2] + two[1][2])
    resumed = train(run=open_run(tmp_path / "two", resume=True), evaluate=evaluate, **OPTIONS)
    np.testing.assert_allclose(resumed.state["weight"], expected.state["weight"], rtol=1e-5)
    rows = read_metrics(tmp_path / "two" / "metrics.jsonl")
    assert [row["step"] for row in rows] == [row["step"] for row in expected.metrics]
    for row, other in zip(rows, expected.metrics, strict=True):
        for name in row:
            assert row[name] == pytest.approx(other[name], rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "faulty"), [("SIGKILL", 1), ("SIGKILL", 0), ("raise", 0), ("SIGSTOP", 1)])
def test_when_one_is_gone_the_other_stops_with_a_clear_error_and_both_resume(tmp_path, fault, faulty):
    expected = train(run=open_run(tmp_path / "one"), evaluate=evaluate, **OPTIONS)
    started, port = time.monotonic(), free_port()
    both = [start(port, i, tmp_path / "two", fault=fault, faulty=faulty) for i in range(2)]
    (found,) = finish([both[1 - faulty]])
    assert time.monotonic() - started < 75  # a dozen of them to get to the fault
    both[faulty].kill()
    finish([both[faulty]])
    assert found[0] == 1
    why = {
        "SIGKILL": "has stopped without a word",
        "raise": "has stopped: the cat sat on the keyboard",
        "SIGSTOP": "has given no sign of life for 30 s",
    }[fault]
    assert re.search(rf"process {faulty} \(\S+\) {why}.* Start all processes again with --resume", found[2])
    again = run_two(tmp_path / "two", resume=True)
    for code, out, _ in again:
        assert code == 0
        result = json.loads(out.splitlines()[-1])
        np.testing.assert_allclose(result["weight"], expected.state["weight"], rtol=1e-5)
        assert [row["step"] for row in result["rows"]] == [row["step"] for row in expected.metrics]


@pytest.mark.slow
def test_two_processes_read_a_checkpoint_of_one_and_differing_ones_are_refused(tmp_path):
    expected = train(run=open_run(tmp_path / "one"), evaluate=evaluate, **OPTIONS)

    def stopping(state, *, key):
        if int(state["count"]) == 30:
            raise KeyboardInterrupt
        return evaluate(state, key=key)

    with pytest.raises(KeyboardInterrupt):
        train(run=open_run(tmp_path / "two"), evaluate=stopping, **OPTIONS)
    for wrong, message in (
        ({"rate": 0.5}, "all processes need the same configuration, but rate is 0.02 in process 0 and 0.5"),
        ({"seed": 4}, "all processes need the same training, but key is [0, 3] in process 0 and [0, 4]"),
    ):
        for code, _, errors in run_two(tmp_path / "two", resume=True, **wrong):
            assert code == 1
            assert message in errors
    for code, out, _ in run_two(tmp_path / "two", resume=True, devices=2):
        assert code == 0
        weight = json.loads(out.splitlines()[-1])["weight"]
        np.testing.assert_allclose(weight, expected.state["weight"], rtol=1e-5)


def together(*parts):
    """Runs functions at the same time and returns what they return or raise."""
    with ThreadPoolExecutor(len(parts)) as pool:
        futures = [pool.submit(part) for part in parts]
        return [future.exception() or future.result() for future in futures]


@pytest.fixture
def groups():
    """Three processes' views of their group, in one process."""
    port, hello = free_port(), {"processes": 3, "version": "1", "jax": "1"}
    links = together(
        lambda: wait_for_others("localhost", port, {**hello, "process": 0}, 20.0),
        lambda: find_first("localhost", port, {**hello, "process": 2}, 20.0),
        lambda: find_first("localhost", port, {**hello, "process": 1}, 20.0),
    )
    found = [Group(i, own, size=3) for i, own in enumerate((links[0], links[2], links[1]))]
    yield found
    together(*(lambda group=group: group.leave(None, lambda: None) for group in found))


def test_a_group_agrees(groups):
    everyone = together(*(lambda group=group: group.gather({"index": group.index}) for group in groups))
    assert everyone == [[{"index": i} for i in range(3)]] * 3
    assert together(*(lambda group=group: group.share(group.index + 5) for group in groups)) == [5] * 3
    content = bytes(range(256)) * 10_000
    shared = together(
        *(lambda group=group: group.share_bytes(content if group.is_first else b"") for group in groups)
    )
    assert shared == [content] * 3
    same, other = {"a": 1, "b": [2]}, {"a": 1, "b": [3]}
    errors = together(
        *(
            lambda group=group: group.check_agreement("numbers", other if group.index == 2 else same)
            for group in groups
        )
    )
    for error in errors:
        assert isinstance(error, ArgumentError)
        assert (
            str(error)
            == "all processes need the same numbers, but b is [2] in process 0 and [3] in process 2"
        )


def test_who_does_not_come_is_named_with_the_time_out():
    port = free_port()
    with (
        pytest.raises(RunError, match=rf"waited 0.3 s at localhost:{port} for process 1, 2 of 3; start"),
        join(f"localhost:{port}", process=0, processes=3, timeout=0.3),
    ):
        pass
    with (
        pytest.raises(RunError, match=rf"process 0 could not be reached at localhost:{port} within 0.3 s"),
        join(f"localhost:{port}", process=1, processes=3, timeout=0.3),
    ):
        pass
    with (
        socket.create_server(("localhost", port)),
        pytest.raises(RunError, match=rf"cannot listen at localhost:{port}: .*in use"),
        join(f"localhost:{port}", process=0, processes=2),
    ):
        pass


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        ({"processes": 3}, "processes is 2 in process 0 and 3 in another"),
        ({"jax": "2"}, "jax is '1' in process 0 and '2' in another"),
        ({"process": 0}, "two processes were started as --process 0"),
    ],
)
def test_who_does_not_belong_is_refused_on_both_sides(theirs, message):
    port, hello = free_port(), {"processes": 2, "version": "1", "jax": "1"}
    errors = together(
        lambda: wait_for_others("localhost", port, {**hello, "process": 0}, 20.0),
        lambda: find_first("localhost", port, {**hello, "process": 1, **theirs}, 20.0),
    )
    assert [type(error) for error in errors] == [ArgumentError] * 2
    assert [str(error) for error in errors] == [message] * 2


def test_a_stranger_at_the_port_is_passed_over():
    port, hello = free_port(), {"processes": 2, "version": "1", "jax": "1"}

    def stranger_first():
        while True:
            try:
                with socket.create_connection(("localhost", port)) as connection:
                    connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
                break
            except OSError:
                time.sleep(0.05)
        return find_first("localhost", port, {**hello, "process": 1}, 20.0)

    first, second = together(
        lambda: wait_for_others("localhost", port, {**hello, "process": 0}, 20.0), stranger_first
    )
    assert [type(links[0]) for links in (first, second)] == [Link] * 2
    assert first[0].name.startswith("process 1 (")
    first[0].close()
    second[0].close()


def test_wrong_arguments_of_join_are_named():
    for options, message in (
        ({"coordinator": "here"}, "coordinator must be HOST:PORT, such as localhost:8476, got 'here'"),
        ({"coordinator": "here:99999"}, "coordinator must be HOST:PORT"),
        ({"process": 2}, "process must be below processes=2"),
        ({"process": -1}, "process must be at least 0"),
        ({"timeout": 0.0}, "timeout must be"),
    ):
        with (
            pytest.raises(ArgumentError, match=message),
            join(**{"coordinator": "localhost:1", "process": 0, "processes": 2, **options}),
        ):
            pass
    with join("localhost:1", process=0, processes=1) as alone:
        assert alone.gather(3) == [3]
