"""A delivery is genuine if one of the secrets has signed exactly these bytes, lately."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polar_portal.api import signatures
from polar_portal.conf import Secret
from polar_portal.exceptions import WebhookVerificationError

NOW = 1_790_000_000
HEADERS = ["webhook-id", "webhook-timestamp", "webhook-signature"]
BODY = b'{"type":"order.paid"}'
#: The key's text is what `openssl rand -base64 32` prints.
SECRET = "whsec_bFOWtJ1r9K5fHkXnSPyfUFWkV0QmZSs1Qy7Ek0cC2zM="


def signature(key: bytes, delivery_id: str = "d1", timestamp: str = str(NOW), body: bytes = BODY) -> str:
    text = f"{delivery_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()


def headers(signed: str, delivery_id: str = "d1", timestamp: str = str(NOW)) -> dict[str, str]:
    return {"webhook-id": delivery_id, "webhook-timestamp": timestamp, "webhook-signature": signed}


def verify(given: dict[str, str], *secrets: str, body: bytes = BODY, now: float = NOW) -> str:
    return signatures.verify([Secret(each) for each in secrets or (SECRET,)], given, body, now=now)


def refused(given: dict[str, str], *secrets: str, body: bytes = BODY, now: float = NOW) -> str:
    with pytest.raises(WebhookVerificationError) as failure:
        verify(given, *secrets, body=body, now=now)
    return str(failure.value)


WHOLE = SECRET.encode()
DECODED = base64.b64decode(SECRET.removeprefix("whsec_"))


@pytest.mark.parametrize("key", [WHOLE, DECODED], ids=["of older secrets", "of those since September 2026"])
def test_both_ways_to_read_a_secret(key: bytes) -> None:
    assert verify(headers(signature(key))) == "d1"


def test_signature_made_with_openssl() -> None:
    # printf 'd1.1790000000.{"type":"order.paid"}' | openssl dgst -sha256 -hmac "$SECRET" -binary | base64
    assert verify(headers("v1,0jQEZeCwurCyUOLGyVD0Opf3WI81zKBWiBw9+eX4dNg=")) == "d1"


def test_any_of_several_secrets_and_of_several_signatures() -> None:
    new = "whsec_" + base64.b64encode(b"n" * 32).decode()
    given = headers(f"v1a,abc {signature(b'x' * 32)} {signature(WHOLE)}")
    assert verify(given, new, SECRET) == "d1"
    assert "has signed it" in refused(given, new)


def test_secret_typed_in_is_its_own_bytes_alone() -> None:
    typed = base64.b64encode(b"k" * 32).decode()
    assert verify(headers(signature(typed.encode())), typed) == "d1"
    refused(headers(signature(b"k" * 32)), typed)


@pytest.mark.parametrize("secret", ["whsec_", "whsec_AAAA", "whsec_not/base64!", "whsec_é"])
def test_what_can_be_no_key_signs_nothing(secret: str) -> None:
    for key in (b"", b"\0\0\0"):
        refused(headers(signature(key)), secret)


@pytest.mark.parametrize("missing", HEADERS)
@pytest.mark.parametrize("how", ["gone", "empty"])
def test_without_a_header(missing: str, how: str) -> None:
    given = headers(signature(WHOLE))
    if how == "gone":
        del given[missing]
    else:
        given[missing] = ""
    assert "has no" in refused(given)


@pytest.mark.parametrize(
    ("age", "passes"), [(0, True), (300, True), (301, False), (-300, True), (-301, False), (10**9, False)]
)
def test_five_minutes_either_way(age: int, passes: bool) -> None:
    given = headers(signature(WHOLE))
    if passes:
        assert verify(given, now=NOW + age) == "d1"
    else:
        assert ("ago" if age > 0 else "in the future") in refused(given, now=NOW + age)


@pytest.mark.parametrize("timestamp", ["1790000000.0", "-1", "+1790000000", "1e9", "now", "٣", "9" * 13, "1790000000 "])
def test_timestamp_that_is_no_whole_number(timestamp: str) -> None:
    assert "can't be read" in refused(headers(signature(WHOLE, timestamp=timestamp), timestamp=timestamp))


@pytest.mark.parametrize("delivery_id", ["a" * 256, "a b", "a\nb", "é"])
def test_id_that_could_not_be_stored(delivery_id: str) -> None:
    assert "can't be read" in refused(headers(signature(WHOLE, delivery_id), delivery_id))


@pytest.mark.parametrize("prefix", ["", "v2,", "V1,", "v1", "v1, "])
def test_signature_of_another_version(prefix: str) -> None:
    refused(headers(prefix + signature(WHOLE).removeprefix("v1,")))


@given(st.data())
def test_altered_anywhere_it_does_not_verify(data: st.DataObject) -> None:
    good = headers(signature(WHOLE))
    where = data.draw(st.sampled_from([*good, "body"]))
    before = BODY if where == "body" else good[where].encode()
    place = data.draw(st.integers(0, len(before) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != before[place]))
    after = before[:place] + bytes([byte]) + before[place + 1 :]
    if where == "body":
        refused(good, body=after)
    else:
        refused(good | {where: after.decode("latin-1")})


@given(
    st.dictionaries(st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]), st.text()), st.binary()
)
def test_nonsense_is_refused_and_nothing_else(given: dict[str, str], body: bytes) -> None:
    refused(given, body=body)


def test_no_secret_lets_nothing_in() -> None:
    with pytest.raises(WebhookVerificationError):
        signatures.verify([], headers(signature(b"")), BODY, now=NOW)


def test_genuine_delivery_verifies_and_altered_by_one_byte_does_not() -> None:
    """A delivery that Polar has really sent: JSON with `secret`, `headers` and `body`, kept by who has received it."""
    place = os.environ.get("POLAR_GENUINE_DELIVERY", "")
    if not Path(place).is_file():
        pytest.skip("POLAR_GENUINE_DELIVERY names no file with a delivery of Polar's and its secret")
    genuine = json.loads(Path(place).read_text(encoding="utf-8"))
    given, body, secret = genuine["headers"], genuine["body"].encode(), genuine["secret"]
    now = int(given["webhook-timestamp"])
    assert verify(given, secret, body=body, now=now) == given["webhook-id"]
    for place_in_body in range(len(body)):
        altered = bytearray(body)
        altered[place_in_body] ^= 1
        refused(given, secret, body=bytes(altered), now=now)
    for name in HEADERS:
        for index, letter in enumerate(given[name]):
            text = given[name][:index] + chr(ord(letter) ^ 1) + given[name][index + 1 :]
            refused(given | {name: text}, secret, body=body, now=now)
