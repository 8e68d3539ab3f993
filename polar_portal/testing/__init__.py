"""A scriptable Polar for your own tests and demos: ``FakePolar``.

Importing this package imports nothing else; the fake is loaded when it is first named, so that the pytest plugin
costs a test run that does not use it nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polar_portal.testing.fake import FakePolar
    from polar_portal.testing.records import Call, Event, FakeCustomer, FakeMember, FakeOrder, Limits
    from polar_portal.testing.wire import Answer

__all__ = ["Answer", "Call", "Event", "FakeCustomer", "FakeMember", "FakeOrder", "FakePolar", "Limits"]

_MODULES = {"FakePolar": "fake", "Answer": "wire"}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES.get(name, 'records')}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
