"""How the processes of one training find each other."""

import contextlib
import json
import re
import socket
import time
from collections.abc import Mapping
from typing import Any

from backthrough.core import ArgumentError, RunError
from backthrough.train.link import DATA, Link

SECONDS_TO_SAY_HELLO = 5.0


def parse_address(coordinator: str) -> tuple[str, int]:
    """Host and port of HOST:PORT.

    Raises:
        ArgumentError: if it is none.
    """
    match = re.fullmatch(r"(.+):(\d+)", coordinator)
    if match is None or not 0 < int(match[2]) < 65535:
        raise ArgumentError(f"coordinator must be HOST:PORT, such as localhost:8476, got {coordinator!r}")
    return match[1].strip("[]"), int(match[2])


def wait_for_others(host: str, port: int, mine: Mapping[str, Any], timeout: float) -> list[Link]:
    """Takes in the other processes, in their order."""
    deadline = time.monotonic() + timeout
    links: dict[int, Link] = {}
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(_listen(host, port))
        _listen(host, port + 1).close()  # JAX's: it would end the process with less to go by
        while len(links) < mine["processes"] - 1:
            listener.settimeout(max(deadline - time.monotonic(), 0.01))
            try:
                connection, (address, *_) = listener.accept()
            except TimeoutError:
                missing = [str(i) for i in range(1, mine["processes"]) if i not in links]
                error = RunError(
                    f"waited {timeout:g} s at {host}:{port} for process {', '.join(missing)} of "
                    f"{mine['processes']}; start it with the same --coordinator (or give --join-timeout)"
                )
                _refuse(links.values(), str(error))
                raise error from None
            connection.settimeout(SECONDS_TO_SAY_HELLO)
            link = Link(connection, f"a process ({address})")
            try:
                hello = json.loads(link.receive()[1])
            except (OSError, ValueError):  # not one of ours
                link.close()
                continue
            problem = _compare(mine, hello, links)
            if problem is not None:
                _refuse([*links.values(), link], problem)
                raise ArgumentError(problem)
            link.name = f"process {hello['process']} ({address})"
            links[hello["process"]] = link
        ordered = [links[index] for index in sorted(links)]
        for link in ordered:
            link.send(DATA, b"{}")
    return ordered


def find_first(host: str, port: int, mine: Mapping[str, Any], timeout: float) -> list[Link]:
    """Connects to the first process, which may start later than this one."""
    deadline = time.monotonic() + timeout
    while True:
        link = None
        try:
            connection = socket.create_connection((host, port), max(deadline - time.monotonic(), 0.01))
            connection.settimeout(max(deadline - time.monotonic(), 0.01))
            link = Link(connection, f"process 0 ({host})")
            link.send(DATA, json.dumps(dict(mine)).encode())
            answer = json.loads(link.receive()[1])
        except OSError as error:
            if link is not None:
                link.close()
            if time.monotonic() < deadline:
                time.sleep(0.2)
                continue
            raise RunError(
                f"process 0 could not be reached at {host}:{port} within {timeout:g} s "
                f"({error.strerror or error}); has it been started with --process 0, and is the port open?"
            ) from error
        if "refused" in answer:
            link.close()
            raise ArgumentError(answer["refused"])
        return [link]


def _compare(mine: Mapping[str, Any], hello: Any, links: Mapping[int, Link]) -> str | None:
    """Why a process that says hello cannot be taken in."""
    for name in ("processes", "version", "jax"):
        if hello.get(name) != mine[name]:
            return f"{name} is {mine[name]!r} in process 0 and {hello.get(name)!r} in another"
    if hello["process"] in links or hello["process"] == 0:
        return f"two processes were started as --process {hello['process']}"
    return None


def _refuse(links: Any, problem: str) -> None:
    for link in links:
        with contextlib.suppress(OSError):
            link.send(DATA, json.dumps({"refused": problem}).encode())
        link.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise RunError(f"cannot listen at {host}:{port}: {error.strerror or error}") from error
