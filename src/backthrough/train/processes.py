"""Several processes, on one machine or many, that make one training together.

JAX's runtime moves the numbers. Beside it each process keeps a connection to the first one, over which they
compare what they were asked to do, agree on when to stop, and notice within seconds when one of them is gone.
"""

import contextlib
import json
import os
import queue
import re
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax

import backthrough
from backthrough.core import ArgumentError, RunError, check_integer, check_positive

SECONDS_BETWEEN_SIGNS_OF_LIFE = 3.0
SECONDS_OF_SILENCE = 30.0  # after which a process counts as gone
SECONDS_TO_SAY_HELLO = 5.0
SECONDS_TO_NOTICE = 20.0  # that the main thread has to notice, by itself, that a process is gone
DATA, ALIVE, GOODBYE = b"d", b"a", b"g"


class Group:
    """The processes of one training, as one of them sees them; alone, a group of one.

    Attributes:
        index: Number of this process; the first, 0, writes the run directory.
        size: Number of processes.
        lost: What is known of a process that is gone: which, and why.
    """

    def __init__(self, index: int = 0, links: "Sequence[_Link]" = (), *, size: int = 1):
        self.index = index
        self.size = size
        self.lost: str | None = None
        self._noticed = threading.Event()
        self._links = list(links)
        for link in self._links:
            link.watch(self._gone)

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.index == 0

    def gather(self, value: Any) -> list[Any]:
        """The JSON values that all processes call this with, in their order.

        Raises:
            RunError: if a process is gone.
        """
        if self.size == 1:
            return [value]
        if self.is_first:
            values = [value, *(json.loads(self._receive(link)) for link in self._links)]
            for link in self._links:
                self._send(link, json.dumps(values).encode())
            return values
        (link,) = self._links
        self._send(link, json.dumps(value).encode())
        return json.loads(self._receive(link))

    def share(self, value: Any) -> Any:
        """The JSON value that the first process calls this with."""
        return self.gather(value if self.is_first else None)[0]

    def share_bytes(self, content: bytes) -> bytes:
        """The bytes that the first process calls this with."""
        if self.is_first:
            for link in self._links:
                self._send(link, content)
            return content
        return self._receive(self._links[0])

    def check_agreement(self, what: str, values: Mapping[str, Any]) -> None:
        """Refuses, in every process, JSON values that differ from those of the first one.

        Args:
            what: What the values describe, such as "configuration".
            values: Name -> value.

        Raises:
            ArgumentError: naming the first value that differs, and the processes.
        """
        first, *others = self.gather(dict(values))
        for process, other in enumerate(others, start=1):
            for name in dict.fromkeys([*first, *other]):
                mine, its = first.get(name, "absent"), other.get(name, "absent")
                if mine != its:
                    raise ArgumentError(
                        f"all processes need the same {what}, but {name} is {mine!r} in "
                        f"process 0 and {its!r} in process {process}"
                    )

    def explain(self, error: Exception) -> RunError | None:
        """The clear error behind one that JAX raised because a process is gone; None when none is."""
        deadline = time.monotonic() + 5.0
        while self.size > 1 and self.lost is None and time.monotonic() < deadline:
            time.sleep(0.05)
        self._noticed.set()
        return None if self.lost is None else RunError(self.lost)

    def leave(self, error: BaseException | None, shut_down: Callable[[], None]) -> None:
        """Says goodbye: together when all is done, and with the reason otherwise.

        Args:
            error: What has gone wrong here, if anything.
            shut_down: Ends JAX's own connection. JAX aborts a process whose connection ends after that of the
                first one, which therefore comes last.
        """
        try:
            if error is None:
                self.gather("done")
        finally:
            self._noticed.set()
            reason = None if error is None else str(error) or type(error).__name__
            if not self.is_first:
                shut_down()
            for link in self._links:
                link.say_goodbye(reason)
            deadline = time.monotonic() + (SECONDS_TO_NOTICE if self.is_first else 2.0)
            for link in self._links:
                link.ended.wait(max(deadline - time.monotonic(), 0))
                link.close()
            if self.is_first:
                shut_down()

    def _send(self, link: "_Link", content: bytes) -> None:
        try:
            link.send(DATA, content)
        except OSError as error:
            raise self.explain(error) or error from error

    def _receive(self, link: "_Link") -> bytes:
        content = link.received.get()
        if content is None:
            self._noticed.set()
            link.received.put(None)
            raise RunError(self.lost or f"{link.name} has left")
        return content

    def _gone(self, link: "_Link", why: str) -> None:
        """Called in the thread that watches a link when its process is gone."""
        others = "" if self.is_first else " This process has nothing to save: the first one writes."
        self.lost = (
            f"{link.name} {why}. Start all processes again with --resume (resume=True) to go on from the "
            f"newest checkpoint.{others}"
        )
        link.received.put(None)
        # The main thread may wait for ever for a number from the other process; and JAX aborts a process
        # that has lost the first one.
        patience = SECONDS_TO_NOTICE if self.is_first else 0.0 if link.vanished else 3.0
        if not self._noticed.wait(patience):
            print(f"backthrough: {self.lost}", file=sys.stderr, flush=True)
            sys.stdout.flush()
            os._exit(1)


class _Link:
    """A connection to another process, with signs of life in both directions."""

    def __init__(self, connection: socket.socket, name: str):
        self.name = name
        self.received: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.vanished = False  # gone without a goodbye
        self._socket = connection
        self._sending = threading.Lock()
        self._left = threading.Event()
        self.ended = threading.Event()

    def send(self, kind: bytes, content: bytes = b"") -> None:
        with self._sending:
            self._socket.sendall(kind + struct.pack(">Q", len(content)) + content)

    def receive(self) -> tuple[bytes, bytes]:
        header = self._read(9)
        return header[:1], self._read(struct.unpack(">Q", header[1:])[0])

    def watch(self, gone: Any) -> None:
        """Starts the threads that read, and that show that this process lives."""
        self._socket.settimeout(SECONDS_OF_SILENCE)
        threading.Thread(target=self._listen, args=(gone,), daemon=True).start()
        threading.Thread(target=self._beat, daemon=True).start()

    def say_goodbye(self, reason: str | None) -> None:
        """Tells the other process that this one ends, and why if it has failed."""
        self._left.set()
        with contextlib.suppress(OSError):
            self.send(GOODBYE, json.dumps(reason).encode())

    def close(self) -> None:
        """Frees the connection."""
        self._socket.close()

    def _listen(self, gone: Any) -> None:
        why = self._read_to_the_end()
        self.ended.set()
        if why is not None and not self._left.is_set():
            gone(self, why)

    def _read_to_the_end(self) -> str | None:
        """Puts away what comes, and returns why no more does; None after all is done."""
        while True:
            try:
                kind, content = self.receive()
            except TimeoutError:
                self.vanished = True
                return f"has given no sign of life for {SECONDS_OF_SILENCE:.0f} s"
            except OSError:
                self.vanished = True
                return "has stopped without a word: it was killed, or its network is down"
            if kind == DATA:
                self.received.put(content)
            if kind == GOODBYE:
                reason = json.loads(content)
                return None if reason is None else f"has stopped: {reason.rstrip('.')}"

    def _beat(self) -> None:
        with contextlib.suppress(OSError):
            while not self._left.wait(SECONDS_BETWEEN_SIGNS_OF_LIFE):
                self.send(ALIVE)

    def _read(self, count: int) -> bytes:
        content = bytearray()
        while len(content) < count:
            piece = self._socket.recv(min(count - len(content), 1 << 20))
            if not piece:
                raise ConnectionError("closed")
            content += piece
        return bytes(content)


_current = Group()


def current_group() -> Group:
    """The processes that this one trains with.

    Raises:
        RunError: if JAX runs over several processes that did not come together through `join`.
    """
    if _current.size != jax.process_count():
        raise RunError(
            f"JAX runs over {jax.process_count()} processes; a run of several processes starts with "
            "train.join(...) in each, in place of jax.distributed.initialize"
        )
    return _current


@contextlib.contextmanager
def join(coordinator: str, *, process: int, processes: int, timeout: float = 60.0) -> Iterator[Group]:
    """Makes this process one of several that train together, for the time of the `with` block.

    Call it before anything else has used JAX, in each process, with the same address. Within it, `fit`
    spreads the shards of a batch over the devices of all processes; each makes only its own rows; the first
    one alone writes. The address and the port after it (which JAX uses) must be reachable within a trusted
    network.

    Args:
        coordinator: "HOST:PORT" at which the first process listens.
        process: Number of this process, from 0.
        processes: How many there are.
        timeout: Seconds to wait for the others.

    Raises:
        ArgumentError: for a wrong argument, or processes that were started with different ones.
        RunError: if the others cannot be reached in time.
    """
    global _current
    host, port = _parse(coordinator)
    processes = check_integer("processes", processes, minimum=1)
    process = check_integer("process", process, minimum=0)
    if process >= processes:
        raise ArgumentError(f"process must be below processes={processes} (they count from 0), got {process}")
    check_positive("timeout", timeout)
    if _current.size > 1:
        raise ArgumentError("this process has joined others before")
    if processes == 1:
        yield _current
        return
    hello = {"processes": processes, "version": backthrough.__version__, "jax": jax.__version__}
    meet = _wait_for_others if process == 0 else _find_first
    links = meet(host, port, {**hello, "process": process}, timeout)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_enable_recoverability", True)  # else JAX aborts the others when one is gone
    jax.config.update("jax_enable_preemption_service", False)  # it takes SIGTERM away
    jax.distributed.initialize(
        f"{host}:{port + 1}", processes, process, initialization_timeout=max(1, round(timeout))
    )
    group = _current = Group(process, links, size=processes)
    failure: BaseException | None = None
    try:
        yield group
    except BaseException as error:
        failure = error
        raise
    finally:
        _current = Group()
        group.leave(failure, jax.distributed.shutdown)


def _parse(coordinator: str) -> tuple[str, int]:
    match = re.fullmatch(r"(.+):(\d+)", coordinator)
    if match is None or not 0 < int(match[2]) < 65535:
        raise ArgumentError(f"coordinator must be HOST:PORT, such as localhost:8476, got {coordinator!r}")
    return match[1].strip("[]"), int(match[2])


def _wait_for_others(host: str, port: int, mine: Mapping[str, Any], timeout: float) -> list[_Link]:
    """Takes in the other processes, in their order."""
    deadline = time.monotonic() + timeout
    links: dict[int, _Link] = {}
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
            link = _Link(connection, f"a process ({address})")
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


def _find_first(host: str, port: int, mine: Mapping[str, Any], timeout: float) -> list[_Link]:
    """Connects to the first process, which may start later than this one."""
    deadline = time.monotonic() + timeout
    while True:
        link = None
        try:
            connection = socket.create_connection((host, port), max(deadline - time.monotonic(), 0.01))
            connection.settimeout(max(deadline - time.monotonic(), 0.01))
            link = _Link(connection, f"process 0 ({host})")
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


def _compare(mine: Mapping[str, Any], hello: Any, links: Mapping[int, _Link]) -> str | None:
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
