"""Settings of the project that HOST names: what all of them have, and in what each is different."""

from __future__ import annotations

import json
import os
from typing import Any

import django

HOST = os.environ["HOST"]

SECRET_KEY = "of the hosts"
ROOT_URLCONF = "tests.hosts.urls"
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "polar_portal",
    "tests.hosts.people",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
_processors = [
    "django.template.context_processors.request",
    "django.contrib.auth.context_processors.auth",
    "django.contrib.messages.context_processors.messages",
]
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": _processors},
    }
]
DATABASES = json.loads(
    os.environ.get("HOST_DATABASES", '{"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}')
)
STATIC_URL = "/static/"
LOGIN_URL = "/sign-in/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
POLAR_ACCESS_TOKEN = "polar_oat_of_the_hosts"
POLAR_WEBHOOK_SECRET = "whsec_of_the_hosts"
# The tests are one process, which shares its memory with nobody.
SILENCED_SYSTEM_CHECKS = ["polar_portal.W002"]


def _without(*apps: str) -> None:
    """Leave out apps, and what they bring."""
    for app in apps:
        name = app.rpartition(".")[2]
        INSTALLED_APPS.remove(app)
        MIDDLEWARE[:] = [each for each in MIDDLEWARE if f".{name}." not in each]
        _processors[:] = [each for each in _processors if f".{name}." not in each]


match HOST:
    case "plain":
        pass
    case "users with a UUID as key":
        AUTH_USER_MODEL = "people.Person"
    case "users with their address as key":
        AUTH_USER_MODEL = "people.Member"
    case "without time zones":
        USE_TZ = False
        TIME_ZONE = "America/New_York"
    case "another kind of automatic key":
        DEFAULT_AUTO_FIELD = "django.db.models.SmallAutoField"
    case "without the admin":
        _without("django.contrib.admin")
    case "without admin, messages and static files":
        _without("django.contrib.admin", "django.contrib.messages", "django.contrib.staticfiles")
    case "at addresses that are not fixed":
        # A language before them, the path of the whole project before that, and a namespace of the host's own.
        LANGUAGE_CODE = "de"
        FORCE_SCRIPT_NAME = "/eu/shop"
        ROOT_URLCONF = "tests.hosts.urls_not_fixed"
        STATIC_URL = "static/"
    case "where everybody must sign in":
        MIDDLEWARE.append("django.contrib.auth.middleware.LoginRequiredMiddleware")
    case "with a strict content security policy":
        if django.VERSION >= (6, 0):
            MIDDLEWARE.append("django.middleware.csp.ContentSecurityPolicyMiddleware")
            SECURE_CSP = {"default-src": ["'self'"], "form-action": ["'self'"]}
        else:
            MIDDLEWARE.append("example_project.middleware.content_security_policy")
    case _:
        raise ValueError(f"There is no host {HOST!r}.")
