"""The pytest plugin: the fixture ``fake_polar``.

pytest imports this module whenever it starts, so it imports nothing that a test without the fixture does not need.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from polar_portal.testing.fake import FakePolar


@pytest.fixture
def fake_polar() -> Iterator[FakePolar]:
    """A new ``FakePolar`` to which every API call of ``polar_portal`` goes for the duration of the test."""
    from polar_portal.testing.fake import FakePolar

    polar = FakePolar()
    with polar.installed():
        yield polar
