"""The jobs that make documents: each ends at its time, unless a test holds them back or hurries them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime


@dataclass(eq=False)
class _Job:
    due: datetime
    finish: Callable[[datetime], None]


class Jobs:
    """Work in progress, done when somebody looks and its time has come: no thread runs for it."""

    def __init__(self) -> None:
        self._running: list[_Job] = []
        self._held = False

    def start(self, due: datetime, finish: Callable[[datetime], None]) -> None:
        """Start a job that ends at ``due``, by calling ``finish`` with the moment it ends."""
        self._running.append(_Job(due, finish))

    def settle(self, now: datetime) -> None:
        """End the jobs whose time has come, in the order of their times."""
        while not self._held:
            job = min(self._running, key=lambda job: job.due, default=None)
            if job is None or job.due > now:
                return
            self._running.remove(job)
            job.finish(job.due)

    def hold(self) -> None:
        """Let no job end for now."""
        self._held = True

    def release(self, now: datetime) -> None:
        """Let jobs end again; those that should have ended meanwhile end now."""
        self._held = False
        for job in self._running:
            job.due = max(job.due, now)
        self.settle(now)

    def finish(self, now: datetime) -> None:
        """End all jobs now, held or not."""
        jobs, self._running = sorted(self._running, key=lambda job: job.due), []
        for job in jobs:
            job.finish(now)
