"""A link whose bytes are counted: TCP from a port of ours to a port of a site."""

import contextlib
import socket
import threading
from typing import Self

PIECE_BYTES = 256 * 1024


class Relay:
    """Passes connections on, both ways; a context manager.

    Its threads belong to the benchmark's process, so they cost the sites nothing.

    Attributes:
        port: Where it listens, on 127.0.0.1.
        bytes: What has crossed it so far, TLS included, headers of TCP and IP not.
    """

    def __init__(self, target_port: int) -> None:
        self.bytes = 0
        self._target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            ends = list(self._open)
        for end in ends:
            _shut(end)

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return  # closed by `__exit__`
            try:
                callee = socket.create_connection(("127.0.0.1", self._target_port))
            except OSError:
                caller.close()
                continue
            for end in (caller, callee):
                # As on a link without a relay: small pieces leave at once.
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open |= {caller, callee}
            for source, target in ((caller, callee), (callee, caller)):
                threading.Thread(target=self._pass, args=(source, target), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(PIECE_BYTES):
                with self._lock:
                    self.bytes += len(piece)
                target.sendall(piece)
        for end in (source, target):
            _shut(end)
            with self._lock:
                self._open.discard(end)


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
