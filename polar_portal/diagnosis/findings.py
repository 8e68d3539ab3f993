"""What the rows are made of, and what those that come later have to know of the earlier ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from polar_portal.api.schemas import IssuedSession

Status = Literal["ok", "warning", "problem", "skipped"]

A_SETTING = "a setting that it needs is wrong, see above"


@dataclass(frozen=True)
class Row:
    """One thing that was looked at. `hint` is the way out of a problem or a warning."""

    name: str
    status: Status
    detail: str
    hint: str = ""


@dataclass
class Findings:
    """What has been seen so far.

    checks: the ids of the system checks that have something to say; silenced: of those that the site has silenced.
    scopes: those that the token has.
    has_database: whether our tables can be read.
    session: the one that Polar has made for the user who was named.
    """

    checks: set[str] = field(default_factory=set)
    silenced: set[str] = field(default_factory=set)
    scopes: set[str] = field(default_factory=set)
    has_database: bool = False
    session: IssuedSession | None = None


def skipped(why: str, *names: str) -> Iterator[Row]:
    for name in names:
        yield Row(name, "skipped", why)
