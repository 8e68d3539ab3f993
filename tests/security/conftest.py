from __future__ import annotations

import traceback
from typing import Any

from django.contrib.auth.models import User
from django.test import Client
from django.views.debug import ExceptionReporter
from hypothesis import HealthCheck, settings

#: For a night, or an hour: the suite itself looks for seconds.
settings.register_profile("long", max_examples=2000, stateful_step_count=100, deadline=None)

HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def quick(examples: int) -> settings:
    """So many examples in the suite, and thousands with `--hypothesis-profile=long`; fixtures are shared by all."""
    chosen = settings() if settings.get_current_profile_name() == "long" else settings(max_examples=examples)
    return settings(chosen, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def browser(user: User | None, **how: Any) -> Client:
    client = Client(**how)
    if user:
        client.force_login(user)
    return client


def reported(error: BaseException) -> str:
    """All that an error reporter could send off: of the error and what it is chained to, suppressed or not.

    Without the frames of the tests themselves, which know every secret.
    """
    parts: list[str] = []
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        waiting += [one.__cause__, one.__context__]
        parts.append(f"{one} {one!r} {one.args!r} {vars(one)!r} {getattr(one, '__notes__', '')!r}")
        tb = one.__traceback__
        while tb is not None and "/tests/" in tb.tb_frame.f_code.co_filename:
            tb = tb.tb_next
        for frame, _ in traceback.walk_tb(tb):
            if "/tests/" not in frame.f_code.co_filename and "/polar_portal/testing/" not in frame.f_code.co_filename:
                parts += [f"{frame.f_code.co_name}.{name} = {value!r}" for name, value in frame.f_locals.items()]
        if tb is not None and one is error:
            parts.append(str(ExceptionReporter(None, type(one), one, tb).get_traceback_html()))
    return "\n".join(parts)
