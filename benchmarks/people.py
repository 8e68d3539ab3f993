"""Users who are signed in."""

from __future__ import annotations

from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore


def make(number: int) -> list[tuple[str, str]]:
    """Return the primary key and the session's key of each; the first is staff and may do everything."""
    made = []
    for _ in range(number):
        count = User.objects.count()
        user = User.objects.create(username=f"user-{count}", is_staff=not count, is_superuser=not count)
        session = SessionStore()
        session[SESSION_KEY] = str(user.pk)
        session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        session.create()
        made.append((str(user.pk), str(session.session_key)))
    return made
