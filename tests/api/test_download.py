"""PDFs over the wire: what is sent to the store that keeps them, what is taken from it, and what is not."""

from __future__ import annotations

import errno
import gzip
import io
import socket
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from polar_portal import __version__
from polar_portal.api.download import DOCUMENT_TIMEOUT, LARGEST_DOCUMENT, download
from polar_portal.api.schemas import Document
from polar_portal.api.transport import document_adapter
from polar_portal.exceptions import PolarUnavailable

from .server import HOST, Line, RawServer, Turn, cut_short, dripping, hang_up, reply, reset, silence

PDF = b"%PDF-1.7\n" + b"x" * 200_000
POLAR = "https://api.polar.sh"
PATH = "/polar-customer-invoices/Invoice-1.pdf?X-Amz-Expires=600&X-Amz-Signature=780933a6"

Serve = Callable[..., RawServer]


@pytest.fixture(autouse=True)
def _own_transport() -> Iterator[None]:
    """Each test starts without connections and leaves none open."""
    document_adapter.cache_clear()
    yield
    for public_only in (True, False):
        document_adapter(public_only=public_only).close()
    document_adapter.cache_clear()


def fetch(
    server: RawServer, *, seconds: float | None = None, into: Any = None, host: str = HOST, base: str = ""
) -> Any:
    """Download from a server on this machine; return what was written."""
    into = io.BytesIO() if into is None else into
    ends_at = None if seconds is None else time.monotonic() + seconds
    url = f"http://{host}:{server.port}{PATH}"
    length = download(Document(url, None), into, base_url=base or server.url, ends_at=ends_at)
    assert length > 0
    return into


def refused(server: RawServer, **how: Any) -> str:
    """Download what can't be had; return what is said of it."""
    into = io.BytesIO(b"before")
    into.seek(0, io.SEEK_END)
    with pytest.raises(PolarUnavailable) as caught:
        fetch(server, into=into, **how)
    assert into.getvalue() == b"before"
    assert into.tell() == 6
    return str(caught.value)


# What is sent


def test_store_is_asked_for_the_file_as_it_is_and_learns_nothing_else(serve: Serve) -> None:
    server = serve(reply(200, PDF))
    assert fetch(server).getvalue() == PDF
    (heard,) = server.heard
    assert (heard.method, heard.target) == ("GET", PATH)
    assert {name.lower() for name, _ in heard.headers} == {"host", "accept-encoding", "user-agent"}
    assert heard.header("Accept-Encoding") == "identity"
    assert heard.header("User-Agent") == f"django-polar-portal/{__version__}"


def test_no_cookie_and_no_netrc_entry_is_sent(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text(f"machine {HOST} login ada password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server = serve(reply(200, PDF, {"Set-Cookie": "session=1; Path=/"}))
    fetch(server)
    fetch(server)
    assert len(server.heard) == 2
    for heard in server.heard:
        assert heard.header("Cookie") is None
        assert heard.header("Authorization") is None


def test_connection_is_kept_for_the_next_one(serve: Serve) -> None:
    server = serve(reply(200, PDF))
    for _ in range(3):
        fetch(server)
    assert server.connections == 1


# What is taken


def test_it_is_written_where_the_file_stands(serve: Serve) -> None:
    into = io.BytesIO(b"before, and what is overwritten")
    into.seek(8)
    fetch(serve(reply(200, PDF)), into=into)
    assert into.getvalue()[:8] == b"before, "
    assert into.getvalue()[8:] == PDF


def test_beginning_may_come_in_pieces(serve: Serve) -> None:
    def slowly(line: Line) -> None:
        line.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(PDF)}\r\n\r\n".encode())
        for piece in (PDF[:1], PDF[1:3], PDF[3:]):
            line.pause(0.02)
            line.send(piece)

    assert fetch(serve(slowly)).getvalue() == PDF


def test_chunks_are_put_together(serve: Serve) -> None:
    half = len(PDF) // 2
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (PDF[:half], PDF[half:]))
    server = serve(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
    assert fetch(server).getvalue() == PDF


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "an empty file"),
        (b"<?xml version='1.0'?><Error/>", "no PDF"),
        (b"%PD", "no PDF"),
        (b" %PDF-1.7", "no PDF"),
    ],
)
def test_what_is_no_pdf_is_refused_at_once(serve: Serve, body: bytes, told: str) -> None:
    server = serve(reply(200, body))
    assert told in refused(server)
    assert len(server.heard) == 1


def test_up_to_20_mib_are_taken_and_no_more(serve: Serve) -> None:
    most = b"%PDF" + bytes(LARGEST_DOCUMENT - 4)
    assert len(fetch(serve(reply(200, most))).getvalue()) == 20 * 1024 * 1024
    server = serve(reply(200, most + b"x"))
    assert "over 20 MiB" in refused(server)
    assert len(server.heard) == 1


def test_without_a_length_too_it_ends_at_20_mib(serve: Serve) -> None:
    def endless(line: Line) -> None:
        line.send(b"HTTP/1.1 200 OK\r\n\r\n%PDF")
        while line.sent < 200 * 1024 * 1024:
            line.send(bytes(1024 * 1024))

    server = serve(endless)
    assert "over 20 MiB" in refused(server)
    assert server.lines[0].sent < 100 * 1024 * 1024


@pytest.mark.parametrize("packed", ["gzip", "deflate", "br"])
def test_what_is_packed_is_not_unpacked(serve: Serve, packed: str) -> None:
    bomb = gzip.compress(b"%PDF" + bytes(64 * 1024 * 1024), compresslevel=1)
    server = serve(reply(200, bomb, {"Content-Encoding": packed}))
    tracemalloc.start()
    assert "no PDF" in refused(server)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 1024 * 1024


# Answers that are none


@pytest.mark.parametrize("status", [302, 307, 308])
def test_no_redirect_is_followed(serve: Serve, status: int) -> None:
    elsewhere = serve(reply(200, PDF))
    server = serve(reply(status, b"", {"Location": f"{elsewhere.url}{PATH}"}))
    assert f"{status} instead of a file" in refused(server)
    assert len(server.heard) == 1
    assert elsewhere.connections == 0


@pytest.mark.parametrize("status", [204, 206, 403, 404, 416, 500])
def test_other_answers_are_not_asked_for_twice(serve: Serve, status: int) -> None:
    server = serve(reply(status, b"" if status == 204 else PDF))
    assert f"{status} instead of a file" in refused(server)
    assert len(server.heard) == 1


@pytest.mark.parametrize(
    "first",
    [reply(502), reply(503, b"busy"), reply(504), hang_up, reset, cut_short(reply(200, PDF)), b"no HTTP\r\n\r\n"],
    ids=["502", "503", "504", "hung up", "reset", "cut short", "no HTTP"],
)
def test_what_may_pass_is_tried_once_more(serve: Serve, first: Turn) -> None:
    server = serve(first, reply(200, PDF))
    into = io.BytesIO(b"before")
    into.seek(6)
    assert fetch(server, into=into).getvalue() == b"before" + PDF
    assert len(server.heard) == 2
    server = serve(first)
    refused(server)
    assert len(server.heard) == 2


def test_chunks_that_break_off_are_no_file(serve: Serve) -> None:
    def broken(line: Line) -> None:
        line.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(PDF), PDF))
        line.sock.close()

    assert "broke" in refused(serve(broken))


# Time


@pytest.mark.parametrize(
    "turn",
    [silence, dripping(b"HTTP/1.1 200 OK\r\nX: ", b"a"), dripping(b"HTTP/1.1 200 OK\r\n\r\n%PDF", b"a")],
    ids=["silence", "headers", "body"],
)
def test_it_ends_when_its_time_is_over(serve: Serve, turn: Turn) -> None:
    server = serve(turn)
    began = time.monotonic()
    assert "The PDF: " in refused(server, seconds=0.4)
    assert time.monotonic() - began < 6
    assert len(server.heard) == 1


def test_it_has_half_a_minute_unless_told_otherwise(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    assert DOCUMENT_TIMEOUT == 30
    monkeypatch.setattr("polar_portal.api.download.DOCUMENT_TIMEOUT", 0.3)
    refused(serve(silence))


# Whose addresses


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let a name have these addresses; asking for any other is an error of the test."""

    def set_up(**hosts: list[str]) -> None:
        def getaddrinfo(host: str, port: Any, *args: Any, **kwargs: Any) -> Any:
            if host == HOST:
                return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (HOST, port))]
            found = hosts[host.replace(".", "_")]
            if not found:
                raise socket.gaierror(-2, "Name or service not known")
            return [
                (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
                if ":" in address
                else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
                for address in found
            ]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    return set_up


NOT_PUBLIC = [
    "127.0.0.1", "10.0.0.7", "172.16.0.7", "192.168.0.7", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",  # noqa: S104 - nobody listens there
    "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::7", "ff02::1", "2001:db8::7", "::ffff:127.0.0.1",
    "::ffff:10.0.0.7", "2002:7f00:1::", "2002:a9fe:a9fe::", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
]  # fmt: skip


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_nothing_of_this_machines_own_network_is_asked(
    serve: Serve, resolve: Callable[..., None], address: str
) -> None:
    server = serve(reply(200, PDF))
    resolve(documents_example=[address])
    assert "not on the public internet" in refused(server, host="documents.example", base=POLAR)
    assert server.connections == 0


def test_one_address_that_is_not_public_is_enough(serve: Serve, resolve: Callable[..., None]) -> None:
    server = serve(reply(200, PDF))
    resolve(documents_example=["52.219.0.1", HOST])
    assert "not on the public internet" in refused(server, host="documents.example", base=POLAR)
    assert server.connections == 0


@pytest.mark.parametrize(
    "address", ["52.219.0.1", "2600:1f60::1", "::ffff:52.219.0.1", "2002:34db:1::", "64:ff9b::34db:1"]
)
def test_public_addresses_are_asked(
    serve: Serve, resolve: Callable[..., None], monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    server = serve(reply(200, PDF))
    resolve(documents_example=[address])
    asked: list[str] = []

    def create_connection(place: tuple[str, int], timeout: float, **kwargs: Any) -> socket.socket:
        asked.append(place[0])
        return socket.create_connection((HOST, place[1]), timeout)

    monkeypatch.setattr("polar_portal.api.deadline.create_connection", create_connection)
    assert fetch(server, host="documents.example", base=POLAR).getvalue() == PDF
    assert asked == [address]


@pytest.mark.parametrize(
    ("base", "addresses"),
    [
        ("http://127.0.0.1:9000", []),
        ("http://polar.example", ["10.0.0.7"]),
        ("https://polar.example:8443/api", ["fc00::7"]),
    ],
)
def test_where_polar_itself_is_local_its_documents_may_be_too(
    serve: Serve, resolve: Callable[..., None], base: str, addresses: list[str]
) -> None:
    server = serve(reply(200, PDF))
    resolve(documents_example=[HOST], polar_example=addresses)
    assert fetch(server, host="documents.example", base=base).getvalue() == PDF


@pytest.mark.parametrize("base", [POLAR, "https://sandbox-api.polar.sh", "https://polar.example"])
def test_where_polar_is_public_its_documents_are(serve: Serve, resolve: Callable[..., None], base: str) -> None:
    server = serve(reply(200, PDF))
    # Of Polar's own hosts nobody is asked: a resolver that fails must not open the way.
    resolve(documents_example=[HOST], polar_example=["52.219.0.1"])
    assert "not on the public internet" in refused(server, host="documents.example", base=base)
    assert server.connections == 0


# What goes wrong here


class Full(io.BytesIO):
    def write(self, data: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_full_disk_is_no_failure_of_polar(serve: Serve) -> None:
    server = serve(reply(200, PDF))
    with pytest.raises(OSError, match="No space left on device"):
        fetch(server, into=Full())
    assert len(server.heard) == 1


@pytest.mark.parametrize("turn", [reply(403, b"<Error>"), hang_up, reply(200, b"no PDF"), silence])
def test_no_error_holds_the_address(serve: Serve, turn: Turn, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    server = serve(turn)
    document = Document(f"{server.url}{PATH}", None)
    with pytest.raises(PolarUnavailable) as caught:
        download(document, io.BytesIO(), base_url=server.url, ends_at=time.monotonic() + 0.4)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    shown = f"{caught.value}{caught.value!r}{caplog.text}"
    trace = caught.value.__traceback__
    while trace:
        if "polar_portal" in str(trace.tb_frame.f_globals.get("__name__")):
            shown += repr(trace.tb_frame.f_locals)
        trace = trace.tb_next
    assert "780933a6" not in shown
