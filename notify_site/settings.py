"""
Settings of the demo site.

By default it runs in one process, with SQLite and the in-memory channel
layer. With DATABASE_URL and REDIS_URL it can run in several.
"""

import os
from pathlib import Path

import dj_database_url
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from notify_site.sqlite import PrivateConnection

BASE_DIR = Path(__file__).resolve().parent.parent

# Off unless asked for, as the demo accounts then have a public password.
DEBUG = os.environ.get("DJANGO_DEBUG", "0").lower() in {"1", "true", "yes"}
SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY") or ("insecure-only-for-debugging" if DEBUG else "")
if not SECRET_KEY:
    raise ImproperlyConfigured(
        "DJANGO_SECRET_KEY is not set. Set it to a long random text, the same for all processes, "
        "or set DJANGO_DEBUG=1 to try the demo on this machine, as “make run” does."
    )
ALLOWED_HOSTS = [host for host in os.environ.get("DJANGO_ALLOWED_HOSTS", "").split(",") if host]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "notify_site.shop",  # first, for its runserver
    "django.contrib.staticfiles",
    "channels",
    "csp",
    "notifications",
]

MIDDLEWARE = [
    # Outermost, so that all responses have these headers, even those to a wrong host.
    "csp.middleware.CSPMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    *([] if DEBUG else ["servestatic.middleware.ServeStaticMiddleware"]),
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "notify_site.forms.UnreadableFormMiddleware",  # before the one that reads the token
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]

ROOT_URLCONF = "notify_site.urls"
ASGI_APPLICATION = "notify_site.asgi.application"
CSRF_FAILURE_VIEW = "notify_site.errors.csrf_failure"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {"default": dj_database_url.config(default=f"sqlite:///{BASE_DIR / 'db.sqlite3'}")}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        "factory": PrivateConnection,
        # Writers queue for up to 20 s instead of failing with "database is locked".
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
    }

else:
    # Under ASGI each request has a thread. Threads wait here for a connection, instead of taking
    # more of them than PostgreSQL has; CONN_HEALTH_CHECKS replaces those that a restart ended.
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
    DATABASES["default"].setdefault("OPTIONS", {})["pool"] = {
        "min_size": 2,
        "max_size": 20,
        "timeout": 10,
    }
    # Or three accounts could fill the pool, and all other pages would wait.
    NOTIFICATIONS_MAX_REQUESTS_PER_WORKER = 18

if REDIS_URL := os.environ.get("REDIS_URL"):
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {
                "hosts": [
                    {
                        "address": url.strip(),
                        # By default, redis-py 8 closes idle subscriptions after 5 s
                        # and refuses more than 100 connections at once.
                        "socket_timeout": None,
                        "socket_connect_timeout": 3,
                        "socket_keepalive": True,
                        "max_connections": 10_000,
                    }
                    for url in REDIS_URL.split(",")
                ],
                # Keeps sites apart that share a Redis: its database numbers do not.
                "prefix": os.environ.get("REDIS_PREFIX", "notify_site"),
            },
        }
    }
else:
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels.layers.InMemoryChannelLayer",
            "CONFIG": {"capacity": 100_000},
        }
    }

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "shop:orders"
LOGOUT_REDIRECT_URL = "login"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文")]
LOCALE_PATHS = [BASE_DIR / "notify_site/locale"]
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = BASE_DIR / "staticfiles"
if not DEBUG:
    STORAGES = {
        "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
        "staticfiles": {"BACKEND": "notify_site.static_files.Storage"},
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "connect-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
    }
}

if not DEBUG:
    # The proxy in front terminates TLS and sets this header.
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = True
    SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
    SECURE_HSTS_SECONDS = 31_536_000
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
    LANGUAGE_COOKIE_SECURE = True

DEFAULT_EXCEPTION_REPORTER_FILTER = "notify_site.error_reports.ReporterFilter"
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "clients": {"()": "notify_site.logs.ClientErrorFilter"},
        "daphne": {"()": "notifications.servers.logs.DaphneFilter"},
        "uvicorn": {"()": "notifications.servers.logs.UvicornFilter"},
    },
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": "line",
            "filters": ["clients"],
        }
    },
    "loggers": {
        # The hub logs an outage of Redis once; the channel layer, a traceback every second.
        "channels_redis": {"level": "CRITICAL"},
        # See docs/deployment.md: no tracebacks for malformed client input, no headers.
        "daphne.http_protocol": {"filters": ["daphne"]},
        "daphne.ws_protocol": {"filters": ["daphne"]},
        # In place of Django's own handler, which only works while debugging.
        "django": {"handlers": ["console"], "level": "INFO", "propagate": False},
        "notifications": {"handlers": ["console"], "level": "INFO", "propagate": False},
        "uvicorn.error": {"filters": ["uvicorn"]},
    },
}
if not DEBUG:
    # Not every server has a handler of its own.
    LOGGING["root"] = {"handlers": ["console"], "level": "INFO"}
