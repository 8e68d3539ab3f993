"""A customer's click, and what can be seen of it: by Polar, in the log, by whom it is not for."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from .polar import ACCESS_TOKEN, HIDDEN, RawPolar, called


def click(client: Client, act: str, order_id: str, *, json: bool) -> Any:
    headers = {"accept": "application/json" if json else "text/html,*/*;q=0.8"}
    if act == "orders":
        return client.get(reverse("polar_portal:order_list"), headers=headers)
    if act == "portal":
        return client.post(reverse("polar_portal:portal"), headers=headers)
    address = reverse(f"polar_portal:{'receipt' if act == 'receipt' else 'invoice'}", args=[order_id])
    return (client.post if act == "make" else client.get)(address, headers=headers)


def lines(caplog: pytest.LogCaptureFixture, level: int = logging.DEBUG) -> list[logging.LogRecord]:
    """What our own loggers wrote."""
    return [record for record in caplog.records if record.name.startswith("polar_portal") and record.levelno >= level]


def leaks(response: Any, caplog: pytest.LogCaptureFixture, *, given: bool) -> str:
    """Where something that must stay hidden can be seen; "" for nowhere.

    given: whether the answer is what was asked for, and so holds a document's address.
    """
    hidden, seen = HIDDEN.lower(), []
    headers = [each for each in response.items() if not (given and each[0] in {"Location", "Refresh"})]
    if hidden in f"{headers} {response.cookies}".lower():
        seen.append("headers")
    if not given and hidden in response.content.decode().lower():
        seen.append("body")
    seen += [
        f"log of {record.name}"
        for record in caplog.records
        if hidden in f"{record.getMessage()} {record.exc_text} {vars(record)!r}".lower()
    ]
    return ", ".join(dict.fromkeys(seen))


def calls(polar: RawPolar) -> tuple[str, ...]:
    """What Polar has heard since the last look; each with the token that belongs there, and without a cookie."""
    heard = polar.heard[:]
    polar.heard.clear()
    for request in heard:
        token = str(request.header("Authorization"))
        if called(request) == "POST session":
            assert token == f"Bearer {ACCESS_TOKEN}"
        else:
            assert re.fullmatch(f"Bearer polar_cst_[0-9]*{HIDDEN}", token)
        assert request.header("Cookie") is None
    return tuple(map(called, heard))
