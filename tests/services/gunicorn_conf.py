"""How the site of test_crowd.py is served: as in production, and not a moment longer than the tests run."""

from __future__ import annotations

import ctypes
import signal
from typing import Any

workers = 4
threads = 16
timeout = 60
graceful_timeout = 2
loglevel = "warning"

PR_SET_PDEATHSIG = 1


def on_starting(server: Any) -> None:
    """Have Linux end it with the tests, also when those are killed and can't."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
