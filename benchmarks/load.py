"""Clicks: raw HTTP/1.1 over kept connections, as cheap as Python can, so that the server is what is measured."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field


@dataclass
class Answer:
    status: int
    seconds: float


@dataclass
class Slice:
    """What some connections got in some seconds."""

    seconds: float = 0.0
    answers: list[Answer] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        return len(self.answers) / self.seconds

    def percentile(self, share: float) -> float:
        times = sorted(each.seconds for each in self.answers)
        return times[min(int(len(times) * share), len(times) - 1)]

    def statuses(self) -> set[int]:
        return {each.status for each in self.answers}


class Connection:
    """One browser's connection: signed in, kept open."""

    def __init__(self, port: int, cookie: str) -> None:
        self._port = port
        self._socket: socket.socket | None = None
        self.sign_in(cookie)

    def sign_in(self, cookie: str) -> None:
        self._head = f"Host: 127.0.0.1\r\nAccept: text/html\r\nCookie: sessionid={cookie}\r\n"

    def close(self) -> None:
        if self._socket:
            self._socket.close()

    def get(self, path: str) -> Answer:
        return self.send(f"GET {path} HTTP/1.1\r\n{self._head}\r\n".encode())

    def post(self, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
        return self.send(head.encode() + body)

    def send(self, request: bytes) -> Answer:
        started = time.perf_counter()
        for _ in range(2):
            if self._socket is None:
                self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=30)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                self._socket.sendall(request)
                head = self._read()
            except ConnectionError:
                head = b""
            if head:
                break
            # gunicorn has closed what was kept open.
            self._socket.close()
            self._socket = None
        if b"\r\nConnection: close" in head:
            self.close()
            self._socket = None
        return Answer(int(head[9:12]), time.perf_counter() - started)

    def _read(self) -> bytes:
        assert self._socket is not None
        got = b""
        while b"\r\n\r\n" not in got:
            piece = self._socket.recv(65536)
            if not piece:
                return b""
            got += piece
        head, _, body = got.partition(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        while len(body) < length:
            body += self._socket.recv(65536)
        return head


def hammer(port: int, cookie: str, path: str, *, connections: int, seconds: float) -> Slice:
    """Click as fast as they are answered, over so many connections, for so many seconds."""
    found = Slice()
    until = time.perf_counter() + seconds
    started = time.perf_counter()

    def work() -> None:
        with closing(Connection(port, cookie)) as connection:
            mine = []
            while time.perf_counter() < until:
                mine.append(connection.get(path))
            found.answers.extend(mine)

    threads = [threading.Thread(target=work) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found.seconds = time.perf_counter() - started
    return found


def at_once(port: int, cookies: list[str], path: str) -> Slice:
    """Click once for each cookie, all at the same moment."""
    found = Slice()
    ready = threading.Barrier(len(cookies) + 1)

    def work(cookie: str) -> None:
        with closing(Connection(port, cookie)) as connection:
            ready.wait()
            found.answers.append(connection.get(path))

    threads = [threading.Thread(target=work, args=[cookie]) for cookie in cookies]
    for thread in threads:
        thread.start()
    ready.wait()
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    found.seconds = time.perf_counter() - started
    return found


def one_by_one(port: int, cookie: str, paths: Iterator[str], number: int) -> list[Answer]:
    with closing(Connection(port, cookie)) as connection:
        return [connection.get(next(paths)) for _ in range(number)]


def each_of_another(port: int, clicks: Iterator[tuple[str, str]], number: int) -> list[Answer]:
    """Click as one user after another: each click is a cookie and a path."""
    answers = []
    with closing(Connection(port, "")) as connection:
        for cookie, path in itertools.islice(clicks, number):
            connection.sign_in(cookie)
            answers.append(connection.get(path))
    return answers
