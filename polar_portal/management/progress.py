"""What a command that goes on for long tells meanwhile."""

from __future__ import annotations

from types import TracebackType

from django.core.management.base import BaseCommand


class Progress:
    """How far a command has come: on a terminal one line that changes, elsewhere a line now and then.

    quiet: whether to tell only what went wrong.
    every: after how many there is a line where nobody watches.
    """

    def __init__(self, command: BaseCommand, *, quiet: bool, every: int) -> None:
        self._out, self._err = command.stdout, command.stderr
        self._quiet, self._watched = quiet, command.stdout.isatty()
        self._every = every
        self._lines = 0
        self._line_is_open = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end_line()

    def reached(self, number: int, text: str) -> None:
        """Tell that so many are done, in the words of `text`."""
        if self._watched and not self._quiet:
            self._out.write(f"\r{text}", ending="")
            self._out.flush()
            self._line_is_open = True
        elif number // self._every > self._lines:
            self._lines = number // self._every
            self.say(text)

    def say(self, text: str) -> None:
        self._end_line()
        if not self._quiet:
            self._out.write(text)
            self._out.flush()

    def warn(self, text: str) -> None:
        """Tell what went wrong, quiet or not."""
        self._end_line()
        self._err.write(text)

    def _end_line(self) -> None:
        """Leave the line that changes as it is."""
        if self._line_is_open:
            self._out.write("")
            self._line_is_open = False
