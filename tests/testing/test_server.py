"""The HTTP server: keeps connections, drops them when told, leaves nothing behind."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
import urllib3

from polar_portal.testing import FakeCustomer, FakePolar


def test_connection_is_kept(polar: FakePolar) -> None:
    with polar.serve() as base_url, urllib3.PoolManager() as pool:
        for _ in range(3):
            assert pool.request("GET", f"{base_url}/v1/orders/").status == 401
        host = pool.connection_from_url(base_url)
        assert host.num_connections == 1


def test_it_ends_cleanly_with_connections_open(polar: FakePolar) -> None:
    before = threading.active_count()
    with polar.serve() as base_url:
        port = int(base_url.rsplit(":", 1)[1])
        idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
        with requests.Session() as http:
            http.get(f"{base_url}/v1/orders/", timeout=5)
    assert threading.active_count() == before
    for connection in idle:
        assert connection.recv(1) == b""
        connection.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_small_answers_are_not_held_back(polar: FakePolar, ada: FakeCustomer) -> None:
    headers = {"Authorization": f"Bearer {polar.create_session(ada).token}"}
    with polar.serve() as base_url, urllib3.PoolManager() as pool:
        started = time.perf_counter()
        for _ in range(50):
            pool.request("GET", f"{base_url}/v1/customer-portal/orders/", headers=headers)
        # A delayed acknowledgement costs 40 ms each: 2 s for fifty.
        assert time.perf_counter() - started < 1


def test_many_at_once(polar: FakePolar, ada: FakeCustomer) -> None:
    order = polar.add_order(ada, invoice=True)
    token = polar.create_session(ada).token
    with polar.serve() as base_url, urllib3.PoolManager(maxsize=20) as pool:
        url = f"{base_url}/v1/customer-portal/orders/{order.id}/invoice"

        def click(_: int) -> int:
            return pool.request("GET", url, headers={"Authorization": f"Bearer {token}"}).status

        with ThreadPoolExecutor(20) as threads:
            assert list(threads.map(click, range(200))) == [200] * 200
    assert polar.count("GET", "/invoice") == 200


def test_timeout_is_a_connection_left_without_an_answer(polar: FakePolar) -> None:
    polar.fail(exception=requests.ReadTimeout)
    with polar.serve() as base_url, pytest.raises(requests.ReadTimeout):
        requests.get(f"{base_url}/v1/orders/", timeout=0.05)


def test_delay_is_real_time_and_spares_documents(polar: FakePolar, ada: FakeCustomer) -> None:
    order = polar.add_order(ada, invoice=True)
    with polar.serve() as base_url:
        headers = {"Authorization": f"Bearer {polar.access_token}"}
        url = requests.get(f"{base_url}/v1/orders/{order.id}/invoice", headers=headers, timeout=5).json()["url"]
        polar.delay = 5
        with pytest.raises(requests.ReadTimeout):
            requests.get(f"{base_url}/v1/orders/", headers=headers, timeout=0.05)
        assert requests.get(url, timeout=0.5).status_code == 200


def test_429_is_chunked_as_on_the_server(polar: FakePolar) -> None:
    polar.limits.new_token = 0
    with polar.serve() as base_url:
        response = requests.get(f"{base_url}/v1/orders/", headers={"Authorization": "Bearer x"}, timeout=5)
    assert response.status_code == 429
    assert response.headers["transfer-encoding"] == "chunked"


def test_client_that_speaks_no_http_is_hung_up_on(polar: FakePolar) -> None:
    with polar.serve() as base_url:
        with socket.create_connection(("127.0.0.1", int(base_url.rsplit(":", 1)[1]))) as connection:
            connection.sendall(b"\x16\x03\x01\n")
            assert connection.recv(1) == b""
        assert requests.get(f"{base_url}/v1/orders/", timeout=5).status_code == 401


def test_hosted_portal_has_a_page(polar: FakePolar, ada: FakeCustomer) -> None:
    with polar.serve() as base_url:
        url = requests.post(
            f"{base_url}/v1/customer-sessions/",
            json={"customer_id": str(ada.id)},
            headers={"Authorization": f"Bearer {polar.access_token}"},
            timeout=5,
        ).json()["customer_portal_url"]
        assert url.startswith(base_url)
        assert requests.get(url, timeout=5).headers["content-type"] == "text/html; charset=utf-8"


def test_one_server_at_a_time(polar: FakePolar) -> None:
    with polar.serve() as base_url:
        assert polar.document_base == base_url
        with pytest.raises(RuntimeError, match=base_url), polar.serve():
            pass
    assert polar.document_base.startswith("https://s3.")
