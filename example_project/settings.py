"""Settings of the shop. The only place that reads the environment; `.env.example` explains each variable."""

from __future__ import annotations

from pathlib import Path

import environ  # type: ignore[import-untyped]
from django.core.management.utils import get_random_secret_key

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
if (BASE_DIR / ".env").is_file():
    env.read_env(BASE_DIR / ".env")

DEBUG = env.bool("DEBUG", default=False)
# Without one of your own, a new one at each start: everybody is signed out, but nobody else knows it.
SECRET_KEY = env.str("SECRET_KEY", default="") or get_random_secret_key()
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["127.0.0.1", "localhost"])

INSTALLED_APPS = [
    "example_project.shop",
    "polar_portal",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "example_project.middleware.content_security_policy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "example_project.urls"
WSGI_APPLICATION = "example_project.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        # Looked at before any app's templates: its polar_portal/base.html gives the app's pages the shop's look.
        "DIRS": [BASE_DIR / "example_project" / "templates"],
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

DATABASES = {"default": env.db("DATABASE_URL", default=f"sqlite:///{BASE_DIR / 'db.sqlite3'}")}
CACHES = {"default": env.cache("CACHE_URL", default="locmemcache://")}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "sign_in"
LOGIN_REDIRECT_URL = "shop:purchase_list"
LOGOUT_REDIRECT_URL = "shop:home"

TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"
# What failed at Polar and why is one line of a `polar_portal.*` logger, never with a token or an address in it.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {"polar_portal": {"handlers": ["console"], "level": "INFO"}},
}

POLAR_ACCESS_TOKEN = env.str("POLAR_ACCESS_TOKEN", default="")
# The app's own default is production. This is an example, so nothing of it should touch real money by accident.
POLAR_SERVER = env.str("POLAR_SERVER", default="sandbox")
POLAR_BASE_URL = env.str("POLAR_BASE_URL", default="")
POLAR_WEBHOOK_SECRET = env.list("POLAR_WEBHOOK_SECRET", default=[])
# The sandbox is where this shop belongs, whatever DEBUG says.
SILENCED_SYSTEM_CHECKS = ["polar_portal.W003"]
