"""A fake Polar on a clock that stands still, reached in process and over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from polar_portal.testing import FakeCustomer, FakePolar
from polar_portal.testing.adapter import FakeAdapter

NOON = 1_790_000_000.0


class Api:
    """Sends requests to a fake, with the organization's token unless a customer is given."""

    def __init__(self, polar: FakePolar, base_url: str, http: requests.Session) -> None:
        self.polar = polar
        self.base_url = base_url
        self.http = http

    def __call__(
        self, method: str, path: str, *, by: FakeCustomer | str | None = None, **options: Any
    ) -> requests.Response:
        """Send a request as customer ``by``, with the token ``by``, or with the organization's; ``""`` for none."""
        token = self.polar.access_token if by is None else by
        if isinstance(token, FakeCustomer):
            token = self.polar.create_session(token).token
        headers = {**({"Authorization": f"Bearer {token}"} if token else {}), **options.pop("headers", {})}
        url = path if path.startswith("http") else self.base_url + path
        return self.http.request(method, url, headers=headers, allow_redirects=False, timeout=5, **options)


@pytest.fixture
def polar() -> FakePolar:
    return FakePolar(clock=lambda: NOON)


@pytest.fixture
def ada(polar: FakePolar) -> FakeCustomer:
    return polar.add_customer(external_id="1", name="Ada Lovelace", email="ada@example.com")


@pytest.fixture(params=["in process", "over HTTP"])
def api(request: pytest.FixtureRequest, polar: FakePolar) -> Iterator[Api]:
    with requests.Session() as http:
        http.trust_env = False
        if request.param == "in process":
            http.mount("https://", FakeAdapter(polar))
            yield Api(polar, polar.base_url, http)
        else:
            with polar.serve() as base_url:
                yield Api(polar, base_url, http)
