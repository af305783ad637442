"""A connection between two processes, over which each notices when the other is gone."""

import contextlib
import json
import queue
import socket
import struct
import threading
from typing import Any

SECONDS_BETWEEN_SIGNS_OF_LIFE = 3.0
SECONDS_OF_SILENCE = 30.0  # after which a process counts as gone
DATA, ALIVE, GOODBYE = b"d", b"a", b"g"


class Link:
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
        """Sends one message."""
        with self._sending:
            self._socket.sendall(kind + struct.pack(">Q", len(content)) + content)

    def receive(self) -> tuple[bytes, bytes]:
        """Kind and content of the next message."""
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
