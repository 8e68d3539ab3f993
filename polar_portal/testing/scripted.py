"""Answers that a test has prepared for requests to come."""

from __future__ import annotations

from dataclasses import dataclass

from polar_portal.testing.wire import Answer, Request


class Scripted(Exception):
    """Raised in place of an answer: what a test has told ``FakePolar.fail`` to raise."""

    def __init__(self, exception: Exception | type[Exception]) -> None:
        super().__init__(exception)
        self.exception = exception


@dataclass(eq=False)
class Script:
    """What to answer requests with this method (any, if ``None``) and this text in their path."""

    method: str | None
    path: str
    answer: Answer
    exception: Exception | type[Exception] | None = None
    times: int | None = 1
    arrives: bool = False

    def perform(self) -> Answer:
        """Give the answer; raises ``Scripted`` when an exception takes its place."""
        if self.exception is not None:
            raise Scripted(self.exception)
        return Answer(self.answer.status, dict(self.answer.headers), self.answer.body)


def take(scripts: list[Script], request: Request) -> Script | None:
    """Return the first script for ``request``; when that was its last time, it is gone from ``scripts``."""
    for script in scripts:
        if matches(request.method, request.path, script.method, script.path):
            if script.times is not None:
                script.times -= 1
                if script.times < 1:
                    scripts.remove(script)
            return script
    return None


def matches(method: str, path: str, wanted_method: str | None, wanted_path: str) -> bool:
    return (wanted_method is None or method == wanted_method.upper()) and wanted_path in path
