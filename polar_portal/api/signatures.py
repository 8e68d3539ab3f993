"""Is this webhook delivery genuine. (Standard Webhooks: HMAC-SHA256 over `id.timestamp.body`.)"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping

from polar_portal.conf import Secret
from polar_portal.exceptions import WebhookVerificationError

#: Seconds by which a delivery's timestamp may differ from our clock, either way.
TOLERANCE = 300
#: A key shorter than this could be guessed; Polar's own have 32 bytes.
SHORTEST_KEY = 16


def verify(secrets: Iterable[Secret], headers: Mapping[str, str], body: bytes, *, now: float) -> str:
    """Return the id of a genuine delivery.

    secrets: of which any may have signed it; several while rotating.
    headers: `webhook-id`, `webhook-timestamp`, `webhook-signature`; several signatures are separated by spaces.
    body: exactly as it came.
    now: epoch seconds.

    Raises WebhookVerificationError for one that Polar did not sign, or not within 300 s of `now`.
    """
    delivery_id, timestamp, signatures = (
        headers.get(name) or "" for name in ("webhook-id", "webhook-timestamp", "webhook-signature")
    )
    if not delivery_id or not timestamp or not signatures:
        raise WebhookVerificationError("It has no webhook-id, webhook-timestamp or webhook-signature.")
    if not re.fullmatch(r"[!-~]{1,255}", delivery_id) or not re.fullmatch(r"[0-9]{1,12}", timestamp):
        raise WebhookVerificationError("Its webhook-id or webhook-timestamp can't be read.")
    signed = b"%b.%b.%b" % (delivery_id.encode(), timestamp.encode(), body)
    given = [each.encode() for each in signatures.split(" ")]
    genuine = False
    for key in _keys(secrets):
        # As text, not decoded: base64 has several ways to write the same bytes. All are compared, always.
        expected = b"v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())
        for each in given:
            genuine |= hmac.compare_digest(expected, each)
    if not genuine:
        raise WebhookVerificationError("None of POLAR_WEBHOOK_SECRET has signed it.")
    # Last: how far off our clock is, is told to Polar alone.
    age = int(now) - int(timestamp)
    if abs(age) > TOLERANCE:
        when = f"{age} s ago" if age > 0 else f"{-age} s in the future"
        raise WebhookVerificationError(f"It was signed {when}: it is a replay, or a clock is wrong.")
    return delivery_id


def _keys(secrets: Iterable[Secret]) -> Iterable[bytes]:
    """What a secret may mean as a key.

    For secrets made before 2026-09-08, and those that a merchant typed in, the bytes of the whole secret, `whsec_`
    included (measured 2026-08); for those that Polar has generated since, what follows `whsec_`, base64-decoded
    (Polar's pull requests 14117 and 14400).
    """
    for secret in secrets:
        text = secret.reveal()
        yield text.encode()
        if text.startswith("whsec_"):
            encoded = text.removeprefix("whsec_")
            try:
                key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
            except (binascii.Error, ValueError):
                continue
            if len(key) >= SHORTEST_KEY:
                yield key
