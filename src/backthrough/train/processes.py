"""Several processes, on one machine or many, that make one training together.

JAX's runtime moves the numbers. Beside it each process keeps a connection to the first one, over which they
compare what they were asked to do, agree on when to stop, and notice within seconds when one of them is gone.
"""

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax

import backthrough
from backthrough.core import ArgumentError, RunError, check_integer, check_positive
from backthrough.train.link import DATA, Link
from backthrough.train.meeting import find_first, parse_address, wait_for_others

SECONDS_TO_NOTICE = 20.0  # that the main thread has to notice, by itself, that a process is gone


class Group:
    """The processes of one training, as one of them sees them; alone, a group of one.

    Attributes:
        index: Number of this process; the first, 0, writes the run directory.
        size: Number of processes.
        lost: What is known of a process that is gone: which, and why.
    """

    def __init__(self, index: int = 0, links: Sequence[Link] = (), *, size: int = 1):
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

    def _send(self, link: Link, content: bytes) -> None:
        try:
            link.send(DATA, content)
        except OSError as error:
            raise self.explain(error) or error from error

    def _receive(self, link: Link) -> bytes:
        content = link.received.get()
        if content is None:
            self._noticed.set()
            link.received.put(None)
            raise RunError(self.lost or f"{link.name} has left")
        return content

    def _gone(self, link: Link, why: str) -> None:
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
    host, port = parse_address(coordinator)
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
    meet = wait_for_others if process == 0 else find_first
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
