"""Where the fake keeps its PDFs: a store whose addresses are presigned as those of S3 are (Signature Version 4)."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from polar_portal.testing.wire import Answer, Request, http_date

INVOICES = "polar-customer-invoices"
RECEIPTS = "polar-customer-receipts"
_CREDENTIAL = "polar-fake"
_REGION = "us-east-2"


@dataclass(frozen=True)
class StoredFile:
    body: bytes
    stored_at: datetime
    cache_control: str | None = None


class Store:
    """Files by key (``bucket/name``), read through presigned addresses only."""

    def __init__(self) -> None:
        self.files: dict[str, StoredFile] = {}
        self._secret = secrets.token_hex(20)

    @staticmethod
    def owns(path: str) -> bool:
        """Tell whether a request for ``path`` is for this store."""
        return path.startswith((f"/{INVOICES}/", f"/{RECEIPTS}/"))

    def presign(self, base_url: str, key: str, filename: str, *, at: datetime, seconds: int) -> str:
        """Return an address of ``key`` that is good for ``seconds`` from ``at``, for GET only."""
        stamp = at.astimezone(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        parameters = {
            "response-content-disposition": f'attachment; filename="{filename}"',
            "response-content-type": "application/pdf",
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"{_CREDENTIAL}/{stamp[:8]}/{_REGION}/s3/aws4_request",
            "X-Amz-Date": stamp,
            "X-Amz-Expires": str(seconds),
            "X-Amz-SignedHeaders": "host",
        }
        path = f"/{quote(key)}"
        signature = self._sign("GET", urlsplit(base_url).netloc, path, list(parameters.items()))
        return f"{base_url}{path}?{_encode([*parameters.items(), ('X-Amz-Signature', signature)])}"

    def answer(self, request: Request, *, at: datetime) -> Answer:
        """Answer a download: the file, or the XML page that a customer sees when the address is no longer good."""
        answer = self._checked(request, at) or self._file(request, at)
        answer.headers.setdefault("date", http_date(at))
        answer.headers["content-length"] = str(len(answer.body))
        if request.method == "HEAD":
            answer.body = b""
        return answer

    def _checked(self, request: Request, at: datetime) -> Answer | None:
        parameters = parse_qsl(request.query, keep_blank_values=True)
        given = dict(parameters)
        signature = given.get("X-Amz-Signature")
        if signature is None:
            return _error(403, "AccessDenied", "Access Denied")
        try:
            signed_at = datetime.strptime(given["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
            expires_at = signed_at + timedelta(seconds=int(given["X-Amz-Expires"]))
        except (KeyError, ValueError, OverflowError):
            return _error(403, "AuthorizationQueryParametersError", "Query-string authentication is incomplete")
        if at >= expires_at:
            return _error(403, "AccessDenied", "Request has expired")
        # The method is part of what is signed, so HEAD on an address made for GET fails here too.
        unsigned = [(name, value) for name, value in parameters if name != "X-Amz-Signature"]
        expected = self._sign(request.method, request.headers.get("host", ""), request.path, unsigned)
        if not hmac.compare_digest(expected.encode(), signature.encode()):
            return _error(403, "SignatureDoesNotMatch", "The signature does not match this request")
        return None

    def _file(self, request: Request, at: datetime) -> Answer:
        file = self.files.get(unquote(request.path).lstrip("/"))
        if file is None:
            return _error(404, "NoSuchKey", "The specified key does not exist")
        given = dict(parse_qsl(request.query))
        etag = hashlib.md5(file.body, usedforsecurity=False).hexdigest()
        headers = {
            "content-type": given.get("response-content-type", "binary/octet-stream"),
            "content-disposition": given.get("response-content-disposition", "attachment"),
            "etag": f'"{etag}"',
            "last-modified": http_date(file.stored_at),
            "accept-ranges": "bytes",
        }
        if file.cache_control is not None:
            headers["cache-control"] = file.cache_control
        found = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", ""))
        if found is None or found.group(0) == "bytes=-":
            return Answer(200, headers, file.body)
        first, last = found.groups()
        size = len(file.body)
        start = int(first) if first else max(0, size - int(last))
        end = min(int(last), size - 1) if first and last else size - 1
        if start > end:
            return _error(416, "InvalidRange", "The requested range is not satisfiable")
        headers["content-range"] = f"bytes {start}-{end}/{size}"
        return Answer(206, headers, file.body[start : end + 1])

    def _sign(self, method: str, host: str, path: str, parameters: list[tuple[str, str]]) -> str:
        given = dict(parameters)
        stamp = given.get("X-Amz-Date", "")
        scope = f"{stamp[:8]}/{_REGION}/s3/aws4_request"
        canonical = "\n".join(
            [method, path, _encode(sorted(parameters)), f"host:{host}", "", "host", "UNSIGNED-PAYLOAD"]
        )
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        key = f"AWS4{self._secret}".encode()
        for part in (stamp[:8], _REGION, "s3", "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, digest])
        return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _encode(parameters: list[tuple[str, str]]) -> str:
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in parameters)


def _error(status: int, code: str, message: str) -> Answer:
    page = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>{message}</Message><RequestId>FAKE</RequestId></Error>"
    )
    return Answer(status, {"content-type": "application/xml"}, page.encode())
