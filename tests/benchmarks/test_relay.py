"""The relay does to a link what is asked of it."""

import socket
import threading
import time
from contextlib import contextmanager

import pytest
from benchmarks.relay import FREE, Line, Relay
from processes import eventually


class Echo:
    """A server that says everything back, on as many connections as there are.

    Attributes:
        heard: All that came.
    """

    def __init__(self):
        self.heard = bytearray()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.threads = []
        self.ends = []
        self.start(self.accept)

    def start(self, target, *args):
        self.threads.append(threading.Thread(target=target, args=args))
        self.threads[-1].start()

    def accept(self):
        while True:
            try:
                end, _ = self.listener.accept()
            except OSError:
                return
            self.ends.append(end)
            self.start(self.say_back, end)

    def say_back(self, end):
        try:
            while data := end.recv(4096):
                self.heard += data
                end.sendall(data)
        except OSError:
            return

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for end in self.ends:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        for thread in self.threads:
            thread.join()
        for end in self.ends:
            end.close()


@contextmanager
def linked(up=FREE, down=FREE):
    """A server, the relay before it, and a connection through it."""
    server = Echo()
    try:
        with (
            Relay(server.port, up=up, down=down) as link,
            socket.create_connection(("127.0.0.1", link.port)) as end,
        ):
            end.settimeout(10)
            yield server, link, end
    finally:
        server.close()


def said_back(end, data):
    end.sendall(data)
    heard = b""
    while len(heard) < len(data) and (piece := end.recv(4096)):
        heard += piece
    return heard


def test_all_bytes_cross_and_are_counted():
    with linked() as (_, link, end):
        assert said_back(end, b"hello" * 100) == b"hello" * 100
        assert (link.up_bytes, link.down_bytes, link.bytes) == (500, 500, 1000)


def test_a_thin_link_takes_its_time():
    with linked(up=Line(10_000, 0.05), down=Line(delay_s=0.05)) as (_, _, end):
        said_back(end, b"x")  # connected
        began_s = time.monotonic()
        assert said_back(end, bytes(2000)) == bytes(2000)
        assert time.monotonic() - began_s > 0.25  # 0.2 for the bytes, 0.1 there and back


def test_a_cut_falls_on_the_byte_that_is_named():
    with linked() as (server, link, end):
        link.cut_after(10)
        assert end.send(b"twenty bytes of text") == 20
        assert end.recv(100) == b""
        eventually(lambda: bytes(server.heard) == b"twenty byt")
        assert link.cuts == 1
        with socket.create_connection(("127.0.0.1", link.port)) as again:
            assert said_back(again, b"back") == b"back"


def test_one_direction_can_vanish():
    with linked() as (server, link, end):
        said_back(end, b"a")
        link.swallow(down=True)
        end.sendall(b"b")
        eventually(lambda: bytes(server.heard) == b"ab")
        end.settimeout(0.1)
        with pytest.raises(TimeoutError):
            end.recv(1)
        link.swallow()
        end.settimeout(10)
        assert said_back(end, b"c") == b"c"


def test_a_connection_can_be_left_half_open():
    with linked() as (_, link, end):
        said_back(end, b"a")
        link.forget()
        end.settimeout(0.1)
        with pytest.raises(TimeoutError):
            end.recv(1)
