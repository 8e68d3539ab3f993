"""The way in for requests in the same process: a transport adapter that asks a FakePolar instead of the network."""

from __future__ import annotations

import io
from http.client import responses
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPResponse

from polar_portal.testing.scripted import Scripted
from polar_portal.testing.wire import Request

if TYPE_CHECKING:
    from polar_portal.testing.fake import FakePolar


class FakeAdapter(HTTPAdapter):
    """Sends requests to ``polar``; whatever their host, only their path counts."""

    def __init__(self, polar: FakePolar) -> None:
        super().__init__()
        self._polar = polar

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        """Answer ``request``; nothing but ``stream`` makes a difference.

        Raises:
            Exception: one that ``FakePolar.fail`` was given.
        """
        try:
            answer = self._polar.handle(_read(request))
        except Scripted as scripted:
            raise scripted.exception from None
        raw = HTTPResponse(
            body=io.BytesIO(answer.body),
            headers=answer.headers,
            status=answer.status,
            version=11,
            reason=responses.get(answer.status, ""),
            preload_content=False,
            request_method=request.method,
        )
        response = self.build_response(request, raw)
        if not stream:
            response.content  # noqa: B018 - reads the body, as requests does
        return response


def _read(request: requests.PreparedRequest) -> Request:
    parts = urlsplit(request.url or "")
    headers = {"host": parts.netloc} | {_text(name).lower(): _text(value) for name, value in request.headers.items()}
    return Request(
        method=request.method or "GET", path=parts.path, query=parts.query, headers=headers, body=_body(request.body)
    )


def _body(body: Any) -> bytes:
    if body is None:
        return b""
    if isinstance(body, bytes):
        return body
    if isinstance(body, str):
        return body.encode()
    return b"".join(_body(part) for part in body)


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
