"""The site that is measured. `BENCH_APP` says what serves the invoices: `polar_portal`, or `sdk`."""

from __future__ import annotations

import environ  # type: ignore[import-untyped]

env = environ.Env()
APP = env.str("BENCH_APP", default="polar_portal")

SECRET_KEY = "of the benchmarks"
ALLOWED_HOSTS = ["127.0.0.1"]
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    *([APP] if APP == "polar_portal" else []),
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
ROOT_URLCONF = "benchmarks.site.urls"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DATABASES = {"default": env.db("DATABASE_URL", default="sqlite:///:memory:") | {"CONN_MAX_AGE": 60}}
CACHES = {"default": env.cache("CACHE_URL", default="locmemcache://")}
STATIC_URL = "static/"
LOGIN_URL = "/admin/login/"
LOGGING = {"version": 1, "disable_existing_loggers": True}

POLAR_ACCESS_TOKEN = env.str("POLAR_ACCESS_TOKEN", default="polar_oat_of_nobody")
POLAR_BASE_URL = env.str("POLAR_BASE_URL", default="http://127.0.0.1:1")
POLAR_WEBHOOK_SECRET = env.str("POLAR_WEBHOOK_SECRET", default="")
#: A customer session's token, for the view that only makes the call.
CUSTOMER_TOKEN = env.str("CUSTOMER_TOKEN", default="")
# What is not measured here.
SILENCED_SYSTEM_CHECKS = ["polar_portal.W001", "polar_portal.W002"]
