"""The way in over HTTP: a small HTTP/1.1 server with keep-alive, for 127.0.0.1."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from http.client import responses
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO

import requests

from polar_portal.testing.scripted import Scripted
from polar_portal.testing.store import Store
from polar_portal.testing.wire import Answer, Request

if TYPE_CHECKING:
    from polar_portal.testing.fake import FakePolar

_MAX_HEAD = 65536


class Server(socketserver.TCPServer):
    """Serves ``polar`` from its own threads while the ``with`` block lasts; leaves no thread and no socket behind."""

    allow_reuse_address = True
    request_queue_size = 1024

    def __init__(self, polar: FakePolar, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Connection)
        self.polar = polar
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._open: dict[threading.Thread, socket.socket] = {}
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), name="FakePolar", daemon=True)

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.shutdown()
        self._thread.join()
        self.closing.set()
        with self._lock:
            connections = dict(self._open)
        for connection in connections.values():
            # Wakes a thread that waits for the next request of a client that keeps its connection.
            _shut(connection)
        for thread in connections:
            thread.join()
        self.server_close()

    def process_request(self, request: object, client_address: object) -> None:
        assert isinstance(request, socket.socket)  # noqa: S101 - for the type checker: this is a TCP server
        thread = threading.Thread(target=self._serve, args=(request, client_address), name="FakePolar", daemon=True)
        with self._lock:
            self._open[thread] = request
        thread.start()

    def _serve(self, connection: socket.socket, client_address: object) -> None:
        try:
            self.finish_request(connection, client_address)
        except OSError:
            pass  # the client has gone
        finally:
            connection.close()
            with self._lock:
                self._open.pop(threading.current_thread(), None)


class _Connection(socketserver.BaseRequestHandler):
    request: socket.socket
    server: Server

    def handle(self) -> None:
        # Without this the kernel would hold back small answers for up to 40 ms.
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self.request.makefile("rb") as incoming:
            while not self.server.closing.is_set():
                request = _read(incoming)
                if request is None or not self._answer(request):
                    return
                if request.headers.get("connection", "").lower() == "close":
                    return

    def _answer(self, request: Request) -> bool:
        polar = self.server.polar
        if polar.delay > 0 and not Store.owns(request.path) and self.server.closing.wait(polar.delay):
            return False
        try:
            answer = polar.handle(request)
        except Scripted as scripted:
            if _is_timeout(scripted.exception):
                self._stay_silent()
            return False
        self.request.sendall(_write(request, answer))
        return True

    def _stay_silent(self) -> None:
        self.request.settimeout(0.05)
        while not self.server.closing.is_set():
            try:
                if not self.request.recv(1024):
                    return
            except TimeoutError:
                continue


def _is_timeout(exception: Exception | type[Exception]) -> bool:
    kind = exception if isinstance(exception, type) else type(exception)
    return issubclass(kind, requests.Timeout)


def _read(incoming: BinaryIO) -> Request | None:
    """Return the next request; ``None`` when the client has closed the connection or does not speak HTTP."""
    line = incoming.readline(_MAX_HEAD)
    if line.count(b" ") != 2:
        return None
    method, target, _version = line.decode("latin-1").split(" ")
    headers: dict[str, str] = {}
    while (line := incoming.readline(_MAX_HEAD)).strip():
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    path, _, query = target.partition("?")
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = _read_chunks(incoming)
    else:
        body = incoming.read(int(headers.get("content-length") or 0))
    return Request(method, path, query, headers, body)


def _read_chunks(incoming: BinaryIO) -> bytes:
    parts = []
    while size := int(incoming.readline(_MAX_HEAD).split(b";")[0] or b"0", 16):
        parts.append(incoming.read(size))
        incoming.readline(_MAX_HEAD)
    while incoming.readline(_MAX_HEAD).strip():
        pass
    return b"".join(parts)


def _write(request: Request, answer: Answer) -> bytes:
    # Head and body in one piece: sent apart, they would cost a round trip.
    headers = dict(answer.headers)
    body = answer.body
    if "content-length" not in headers and request.method != "HEAD":
        # An answer without a length is sent in chunks; Polar's 429 is one (measured on the server, 2026-08).
        headers["transfer-encoding"] = "chunked"
        body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {answer.status} {responses.get(answer.status, '')}\r\n{head}\r\n".encode("latin-1") + body


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it was closed a moment ago
        connection.shutdown(socket.SHUT_RDWR)
