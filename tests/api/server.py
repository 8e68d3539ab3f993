"""A server on 127.0.0.1 that speaks HTTP by hand, so that it can also speak it badly, slowly or not at all."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Heard:
    """A request as it came over the wire; `connection` counts TCP connections from 1."""

    connection: int
    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the one header of this name, None for none; more than one is an error of its own."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) <= 1, f"{name} was sent {len(values)} times"
        return values[0] if values else None


class Line:
    """One TCP connection, from the server's side."""

    def __init__(self, sock: socket.socket, stopping: threading.Event) -> None:
        self.sock = sock
        self.sent = 0
        self._stopping = stopping

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)
        self.sent += len(data)

    def pause(self, seconds: float) -> bool:
        """Wait; return False when the server is being stopped."""
        return not self._stopping.wait(seconds)

    def start_tls(self, context: ssl.SSLContext) -> None:
        self.sock = context.wrap_socket(self.sock, server_side=True)

    def reset(self) -> None:
        """Close so that the other side sees "connection reset by peer"."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def read_request(self, number: int) -> Heard | None:
        head = b""
        while b"\r\n\r\n" not in head:
            data = self.sock.recv(65536)
            if not data:
                return None
            head += data
        text, _, body = head.partition(b"\r\n\r\n")
        first, *lines = text.decode("latin-1").split("\r\n")
        headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
        while len(body) < length:
            body += self.sock.recv(65536)
        method, target, _ = first.split(" ")
        return Heard(number, method, target, headers, body)


#: What to do with a request: send these bytes, or call this; the connection stays open unless it is closed there.
Turn = bytes | Callable[[Line], None]


class RawServer:
    """Answers the first request with the first turn, the second with the second, and all later ones with the last.

    heard: the requests, in order. connections: how many TCP connections came. Until `listen` its port refuses them.
    """

    def __init__(self, *turns: Turn, tls: ssl.SSLContext | None = None) -> None:
        self.turns = list(turns)
        self.heard: list[Heard] = []
        self.connections = 0
        self.lines: list[Line] = []
        self.tls = tls
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._listener = socket.socket()
        self._listener.bind((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://{HOST}:{self.port}"

    def __enter__(self) -> RawServer:
        self.listen()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopping.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for line in self.lines:
            with suppress(OSError):
                line.sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive()

    def listen(self) -> None:
        self._listener.listen(64)
        self._start(self._accept)

    def greet(self, line: Line, number: int) -> None:
        """Say something before any request has been read; here, nothing."""

    def turn(self, request: Heard) -> Turn:
        """Return what to do with the request that has just been heard."""
        return self.turns[min(len(self.heard), len(self.turns)) - 1]

    def hang_up(self) -> None:
        """Close every connection that is open now, as a server does with idle ones."""
        for line in self.lines:
            with suppress(OSError):
                line.sock.shutdown(socket.SHUT_RDWR)

    def _start(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            line = Line(sock, self._stopping)
            self.lines.append(line)
            self._start(self._serve, line, self.connections)

    def _serve(self, line: Line, number: int) -> None:
        # The other side hanging up in the middle, and a refused certificate, are what many tests are about.
        with suppress(OSError):
            try:
                if self.tls:
                    line.start_tls(self.tls)
                self.greet(line, number)
                while (request := line.read_request(number)) is not None:
                    with self._lock:
                        self.heard.append(request)
                        turn = self.turn(request)
                    if isinstance(turn, bytes):
                        line.send(turn)
                    else:
                        turn(line)
                        if line.sock.fileno() < 0:
                            return
            finally:
                line.sock.close()


def reply(status: int = 200, body: Any = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """Return the bytes of an answer; a body that is not bytes is sent as JSON."""
    lines = [f"HTTP/1.1 {status} Whatever"]
    if not isinstance(body, bytes):
        lines.append("Content-Type: application/json")
    content: bytes = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines += [f"Content-Length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + content


def dripping(start: bytes, drop: bytes) -> Callable[[Line], None]:
    """Send `start`, then `drop` again and again, 20 ms apart, for eight seconds at most."""

    def turn(line: Line) -> None:
        line.send(start)
        for _ in range(400):
            if not line.pause(0.02):
                break
            line.send(drop)
        line.sock.close()

    return turn


def silence(line: Line) -> None:
    """Answer nothing until the server is stopped, or for four seconds."""
    line.pause(4)
    line.sock.close()


def hang_up(line: Line) -> None:
    line.sock.close()


def reset(line: Line) -> None:
    line.reset()


def cut_short(answer: bytes, missing: int = 5) -> Callable[[Line], None]:
    """Send an answer without its last bytes, and hang up."""

    def turn(line: Line) -> None:
        line.send(answer[:-missing])
        line.sock.close()

    return turn
