"""Settings of the shop, as it would be in production. The only place that reads the environment; `.env.example` beside
manage.py explains each variable.
"""

from __future__ import annotations

from pathlib import Path

import environ  # type: ignore[import-untyped]
from django.core.management.utils import get_random_secret_key

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
if (BASE_DIR / ".env").is_file():
    env.read_env(BASE_DIR / ".env")

DEBUG = env.bool("DEBUG", default=False)
HTTPS = env.bool("HTTPS", default=not DEBUG)
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

# IMMEDIATE: of two that write to SQLite at once, the second one waits instead of failing.
SQLITE = f"sqlite:///{BASE_DIR / 'db.sqlite3'}?transaction_mode=IMMEDIATE"
DATABASES = {"default": env.db("DATABASE_URL", default=SQLITE)}
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

# Cookies travel by https alone, and whoever comes by http is sent there. Middleware adds the Content-Security-Policy.
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = env.int("HSTS_SECONDS", default=3600) if HTTPS else 0
if env.bool("BEHIND_PROXY", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
X_FRAME_OPTIONS = "DENY"

TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
LOG_LEVEL = env.str("LOG_LEVEL", default="INFO")
# What failed at Polar and why is one line of a `polar_portal.*` logger, never with a token or an address in it.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        # Instead of Django's own handlers, which are silent without DEBUG and would send an e-mail for each 5xx.
        "django": {"handlers": [], "level": "INFO"},
        "example_project": {"level": LOG_LEVEL},
        "polar_portal": {"level": LOG_LEVEL},
    },
}

POLAR_ACCESS_TOKEN = env.str("POLAR_ACCESS_TOKEN", default="")
# The app's own default is production. This is an example, so nothing of it should touch real money by accident.
POLAR_SERVER = env.str("POLAR_SERVER", default="sandbox")
POLAR_BASE_URL = env.str("POLAR_BASE_URL", default="")
POLAR_WEBHOOK_SECRET = env.list("POLAR_WEBHOOK_SECRET", default=[])
SILENCED_SYSTEM_CHECKS = [
    # The sandbox is where this shop belongs, whatever DEBUG says.
    "polar_portal.W003",
    # HSTS for all subdomains, and in the browsers' own list: that is for whoever owns the whole domain to decide.
    "security.W005",
    "security.W021",
]
