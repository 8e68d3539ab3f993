"""Is this installation sound? What the settings alone can't tell, found by trying it out.

Each row tells one thing. What can't be judged because of an earlier problem is skipped, so that one mistake is told
once. Nothing is changed at Polar, save that one session is made for a user who is named.

No row holds a token, a signed URL, or what Polar or the resolver calls a customer.
"""

from __future__ import annotations

from collections.abc import Iterator

from polar_portal.diagnosis.findings import Findings, Row
from polar_portal.diagnosis.polar import look_at_polar
from polar_portal.diagnosis.site import look_at_cache, look_at_database, look_at_settings
from polar_portal.diagnosis.user_and_order import look_at_order, look_at_user
from polar_portal.diagnosis.webhook import look_at_webhook

__all__ = ["Row", "diagnose"]


def diagnose(user: str | None = None, order: str | None = None) -> Iterator[Row]:
    """Look at one thing after the other, and give a row for each.

    user: a username or primary key, of whom to see whether Polar knows them; None for nobody.
    order: an order's id at Polar to look at; None for none.
    """
    findings = Findings()
    yield from look_at_settings(findings)
    yield from look_at_polar(findings)
    yield look_at_cache(findings)
    yield look_at_database(findings)
    yield from look_at_webhook(findings)
    if user is not None:
        yield look_at_user(user, findings)
    if order is not None:
        yield from look_at_order(order, findings, with_customer=user is not None)
