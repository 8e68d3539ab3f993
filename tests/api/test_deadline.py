"""Connections whose every wait ends at one moment."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import pytest
import requests
import urllib3
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util import connection

from polar_portal.api import deadline
from polar_portal.api.transport import api_adapter

from .server import HOST, RawServer, dripping, reply

Serve = Callable[..., RawServer]


def send(url: str) -> requests.Response:
    request = requests.Request("GET", url).prepare()
    return api_adapter().send(request, stream=True, timeout=deadline.time_left())


def new_connection(port: int, host: str = HOST) -> socket.socket:
    sock: socket.socket = deadline._Connection(host, port)._new_conn()
    return sock


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let the name polar.test have so many addresses, all of them 127.0.0.1."""
    really = socket.getaddrinfo

    def give(count: int) -> None:
        def getaddrinfo(host: str, port: int, *args: Any, **kwargs: Any) -> Any:
            if host != "polar.test":
                return really(host, port, *args, **kwargs)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (HOST, port))] * count

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    return give


@pytest.fixture
def black_hole() -> Iterator[int]:
    """A port whose queue is full: the system leaves whoever connects without an answer."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen(0)
        waiting = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            waiting.append(filler)
        yield listener.getsockname()[1]
        for filler in waiting:
            filler.close()


def test_outside_of_a_call_there_is_no_time() -> None:
    with pytest.raises(TimeoutError):
        deadline.time_left()


def test_time_left_is_what_is_left() -> None:
    with deadline.until(time.monotonic() + 100):
        assert 99 < deadline.time_left() <= 100


def test_time_that_is_over_is_an_error() -> None:
    with deadline.until(time.monotonic() - 0.001), pytest.raises(TimeoutError, match="over"):
        deadline.time_left()


def test_a_call_within_a_call_gives_the_outer_one_its_time_back() -> None:
    with deadline.until(time.monotonic() + 100):
        with suppress(KeyError), deadline.until(time.monotonic() + 10):
            assert deadline.time_left() <= 10
            raise KeyError
        assert deadline.time_left() > 10


def test_the_time_of_one_thread_is_not_anothers() -> None:
    seen: list[object] = []

    def look() -> None:
        try:
            seen.append(deadline.time_left())
        except TimeoutError as error:
            seen.append(error)

    with deadline.until(time.monotonic() + 100):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    assert isinstance(seen[0], TimeoutError)


def test_a_port_that_swallows_everything_times_out(black_hole: int) -> None:
    began = time.monotonic()
    with deadline.until(began + 0.3), pytest.raises(ConnectTimeoutError) as caught:
        new_connection(black_hole)
    assert not isinstance(caught.value, NewConnectionError)
    assert time.monotonic() - began < 6


def test_many_dead_addresses_take_no_longer_than_one(black_hole: int, addresses: Callable[[int], None]) -> None:
    addresses(30)
    began = time.monotonic()
    with deadline.until(began + 0.3), pytest.raises(ConnectTimeoutError):
        new_connection(black_hole, "polar.test")
    assert time.monotonic() - began < 6


def test_a_dead_address_leaves_time_for_the_others(
    serve: Serve, addresses: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses(3)
    server = serve(reply(200))
    really, given = connection.create_connection, []

    def create_connection(address: Any, timeout: float, **kwargs: Any) -> socket.socket:
        given.append(timeout)
        if len(given) < 3:
            raise TimeoutError
        return really(address, timeout, **kwargs)

    monkeypatch.setattr(deadline, "create_connection", create_connection)
    with deadline.until(time.monotonic() + 30):
        new_connection(server.port, "polar.test").close()
    # A third, then half of what is left, then all of it; here the failures took no time.
    assert [round(timeout) for timeout in given] == [10, 15, 30]


def test_a_connection_waits_for_its_handshake_as_long_as_is_left(
    serve: Serve, addresses: Callable[[int], None]
) -> None:
    addresses(3)
    server = serve(reply(200))
    with deadline.until(time.monotonic() + 30), closing(new_connection(server.port, "polar.test")) as sock:
        assert 25 < (sock.gettimeout() or 0) <= 30


def test_a_refused_connection_is_not_a_timeout() -> None:
    with socket.create_server((HOST, 0)) as closed:
        port = closed.getsockname()[1]
    with deadline.until(time.monotonic() + 5), pytest.raises(NewConnectionError) as caught:
        new_connection(port)
    assert not isinstance(caught.value, NameResolutionError)


@pytest.mark.parametrize("error", [socket.gaierror(-2, "Name or service not known"), OSError("odd")])
def test_a_name_without_an_address_says_so(monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    def getaddrinfo(*args: Any, **kwargs: Any) -> Any:
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with deadline.until(time.monotonic() + 5), pytest.raises(NameResolutionError):
        new_connection(80, "polar.test")


def test_without_time_no_connection_is_opened(serve: Serve) -> None:
    server = serve(reply(200))
    with deadline.until(time.monotonic() - 1), pytest.raises(ConnectTimeoutError):
        new_connection(server.port)
    assert server.connections == 0


@pytest.mark.parametrize(
    ("start", "drop"),
    [(b"HTTP/1.1 200", b" "), (b"HTTP/1.1 200 OK\r\n", b"a"), (b"HTTP/1.1 200 OK\r\n\r\n", b"a")],
    ids=["status line", "headers", "body"],
)
def test_every_read_waits_only_for_what_is_left(serve: Serve, start: bytes, drop: bytes) -> None:
    server = serve(dripping(start, drop))

    def read() -> None:
        response = send(server.url)
        with closing(response.raw):
            response.raw.read(1000)

    began = time.monotonic()
    with deadline.until(began + 0.3), pytest.raises((requests.RequestException, urllib3.exceptions.HTTPError)):
        read()
    assert time.monotonic() - began < 6


def test_a_kept_connection_starts_with_new_time(serve: Serve) -> None:
    server = serve(reply(200, b"hello"))
    for seconds in (0.5, 30):
        with deadline.until(time.monotonic() + seconds):
            assert send(server.url).raw.read() == b"hello"
    assert server.connections == 1


def messages(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("urllib3"))


def test_query_strings_of_our_calls_stay_out_of_urllib3s_log(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server = serve(reply(200))
    with deadline.until(time.monotonic() + 5):
        send(f"{server.url}/1.pdf?X-Amz-Signature=780933a6").raw.read()
    assert '"GET /1.pdf HTTP/1.1" 200' in messages(caplog)
    assert "780933a6" not in messages(caplog)


def test_what_other_code_logs_through_urllib3_is_left_alone(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server = serve(reply(200))
    with urllib3.PoolManager() as pool:
        pool.request("GET", f"{server.url}/?page=2")
    assert "GET /?page=2" in messages(caplog)


def test_odd_headers_and_their_url_are_not_logged(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server = serve(b"HTTP/1.1 200 OK\r\nno header at all\r\nContent-Length: 0\r\n\r\n")
    with deadline.until(time.monotonic() + 5):
        response = send(f"{server.url}/1.pdf?X-Amz-Signature=780933a6")
        response.raw.close()
    assert "200" in messages(caplog)
    assert "780933a6" not in caplog.text
    assert "no header at all" not in caplog.text
