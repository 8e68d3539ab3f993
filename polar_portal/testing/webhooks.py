"""Signing deliveries as Polar does (Standard Webhooks), with either way of reading the secret as a key."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Literal

Scheme = Literal["standard", "utf8"]


def sign(secret: str, scheme: Scheme, *, delivery_id: str, timestamp: int, body: bytes) -> str:
    """Return the value of the ``webhook-signature`` header.

    Args:
        secret: the endpoint's secret, ``whsec_`` included.
        scheme: ``"standard"`` for secrets that Polar has generated since 2026-09-08: the key is what follows
            ``whsec_``, base64-decoded. ``"utf8"`` for older secrets and those a merchant typed in: the key is the
            bytes of the whole secret (measured on the server, 2026-08).
        delivery_id: the delivery's id.
        timestamp: seconds since the epoch.
        body: exactly what is sent.

    Raises:
        ValueError: the secret can't be a key in this scheme, or the scheme is not known.
    """
    signed = b"%b.%d.%b" % (delivery_id.encode(), timestamp, body)
    digest = hmac.new(_key(secret, scheme), signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def _key(secret: str, scheme: Scheme) -> bytes:
    if scheme == "utf8":
        return secret.encode()
    if scheme != "standard":
        raise ValueError(f"Unknown scheme {scheme!r}: use 'standard' or 'utf8'.")
    encoded = secret.removeprefix("whsec_")
    return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
