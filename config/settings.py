"""All settings of the server, read from the environment (and from `.env` beside manage.py). See .env.example."""

import math
from contextlib import suppress
from pathlib import Path
from typing import Any
from warnings import catch_warnings

import environ
from django.core.exceptions import ImproperlyConfigured

from config.csp import CSP

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
environ.Env.read_env(BASE_DIR / ".env")


def number(name: str, default: float) -> float:
    """A finite number. Not env.float, which drops the letters that it cannot read: 1e3 is 13 to it, 10min is 10."""
    text = env.str(name, default=str(default))
    with suppress(ValueError, OverflowError):
        if math.isfinite(value := float(text)):
            return value
    raise ImproperlyConfigured(f"{name} must be a number, not {text!r}. Correct it in the environment or in .env.")


def whole(name: str, default: int) -> int:
    """A whole number."""
    value = number(name, default)
    if value != int(value):
        raise ImproperlyConfigured(f"{name} must be a whole number, not {value:g}. Correct it where it is set.")
    return int(value)


def database() -> dict[str, Any]:
    """Where DATABASE_URL points to. The address is quoted nowhere, for it may hold a password."""
    with suppress(ValueError), catch_warnings(action="ignore"):
        found: dict[str, Any] = env.db("DATABASE_URL", default="sqlite:///var/db.sqlite3")
        if found.get("ENGINE") in ("django.db.backends.sqlite3", "django.db.backends.postgresql"):
            return found
    raise ImproperlyConfigured("DATABASE_URL must be sqlite:///path or postgresql://user:password@host:5432/name.")


DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env.str("SECRET_KEY", default="")
if not SECRET_KEY:
    if not DEBUG:
        raise ImproperlyConfigured(
            "SECRET_KEY is not set. Put a long random value into the environment or into .env "
            "(`python -c 'import secrets; print(secrets.token_urlsafe(50))'`), or set DEBUG=1 on a developer's machine."
        )
    SECRET_KEY = "only-for-development-with-debug-on"  # noqa: S105  refused above when DEBUG is off

ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    "config.admin.TrainingAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "config",
    "datasets_app",
    "workers_app",
    "runs_app",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "config.csp.ContentSecurityPolicyMiddleware",
    "config.middleware.StaticFiles",
    "config.middleware.TolerateTrailingSlash",
    "config.middleware.ApiSpeaksUtc",
    "config.middleware.PlainCookies",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "config.middleware.AnswerOutages",
]

ROOT_URLCONF = "config.urls"
CSRF_FAILURE_VIEW = "config.api.csrf_failure"
WSGI_APPLICATION = "config.wsgi.application"
ASGI_APPLICATION = "config.asgi.application"

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

# Database: a SQLite file by default, PostgreSQL by DATABASE_URL; the same code on both.

DATABASES = {"default": database()}
_database = DATABASES["default"]
if _database["ENGINE"].endswith("sqlite3"):
    # A relative path means the project's folder, whatever folder the command is started in.
    if _database["NAME"] != ":memory:":
        _database["NAME"] = str(BASE_DIR / _database["NAME"])
        Path(_database["NAME"]).parent.mkdir(parents=True, exist_ok=True)
    # IMMEDIATE: a transaction that will write takes the lock at its start and waits for it; with SQLite's
    # default it fails at its first write when another one came between.
    _database["ENGINE"] = "config.sqlite3"  # in a process they come in line
    _database["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
else:
    _database.setdefault("OPTIONS", {})["pool"] = {
        "min_size": 1,
        "max_size": whole("DATABASE_POOL_SIZE", 16),
        "timeout": 10,
    }
    # The claim, which binds its values on the server, is prepared on its fifth use; Django's own statements never are.
    _database["OPTIONS"].setdefault("prepare_threshold", 5)
    _database["CONN_HEALTH_CHECKS"] = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# People

AUTHENTICATION_BACKENDS = ["config.backends.ChangeImpliesView"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"

LANGUAGE_CODE = env.str("LANGUAGE_CODE", default="pt-br")
LANGUAGES = [("pt-br", "Português (Brasil)"), ("en", "English")]
LOCALE_PATHS = [BASE_DIR / "config" / "locale"]
FORMAT_MODULE_PATH = ["config.formats"]
TIME_ZONE = env.str("TIME_ZONE", default="America/Campo_Grande")
USE_I18N = True
USE_TZ = True

# Files

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
with suppress(OSError):  # WhiteNoise complains of a folder that is not there; a read-only installation has it built
    STATIC_ROOT.mkdir(exist_ok=True)
MEDIA_ROOT = Path(env.str("MEDIA_ROOT", default=str(BASE_DIR / "var" / "media")))
STORAGES = {
    "default": {"BACKEND": "config.storage.WholeFiles"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedStaticFilesStorage"
    },
}
# A fresh clone serves its admin before anyone ran collectstatic. Afterwards the finders would only come before the
# collected files, and their compressed twins would never be sent.
WHITENOISE_USE_FINDERS = not (STATIC_ROOT / "admin").is_dir()
FILE_UPLOAD_PERMISSIONS = 0o600

MAX_UPLOAD_MB = whole("MAX_UPLOAD_MB", 100)
MAX_DATASET_ROWS = whole("MAX_DATASET_ROWS", 1_000_000)
DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 2**20  # JSON bodies; files are limited by MAX_UPLOAD_MB

# The queue

JOB_LEASE_SECONDS = number("JOB_LEASE_SECONDS", 600)
JOB_HEARTBEAT_SECONDS = number("JOB_HEARTBEAT_SECONDS", 30)
JOB_UPLOAD_SECONDS = number("JOB_UPLOAD_SECONDS", 2)
JOB_POLL_SECONDS = number("JOB_POLL_SECONDS", 30)
JOB_MAX_ATTEMPTS = whole("JOB_MAX_ATTEMPTS", 3)
WORKER_OFFLINE_SECONDS = number("WORKER_OFFLINE_SECONDS", 90)

# Notifications, off by default: an e-mail to whoever queued a run, a signed webhook for all runs

NOTIFY_EMAIL = env.bool("NOTIFY_EMAIL", default=False)
vars().update(env.email_url("EMAIL_URL", default="smtp://localhost:25"))
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="bert-training@localhost")
PUBLIC_URL = env.str("PUBLIC_URL", default="").rstrip("/")  # where messages point to; no link without it
WEBHOOK_URL = env.str("WEBHOOK_URL", default="")
WEBHOOK_SECRET = env.str("WEBHOOK_SECRET", default="")
WEBHOOK_ALLOW_PRIVATE = env.bool("WEBHOOK_ALLOW_PRIVATE", default=False)
if WEBHOOK_URL and not WEBHOOK_URL.startswith(("https://", "http://") if DEBUG else "https://"):
    raise ImproperlyConfigured("WEBHOOK_URL must begin with https://; plain http is for DEBUG=1 on one machine.")
if WEBHOOK_URL and len(WEBHOOK_SECRET) < 32:
    raise ImproperlyConfigured(
        "WEBHOOK_URL needs a WEBHOOK_SECRET of at least 32 characters, which the receiver knows, too "
        "(`python -c 'import secrets; print(secrets.token_urlsafe(32))'`)."
    )

# Transport: safe by default; `make demo` serves plain http on loopback and turns these off.

SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", default=not DEBUG)
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]  # a platform's health check speaks plain http
SESSION_COOKIE_SECURE = env.bool("SESSION_COOKIE_SECURE", default=not DEBUG)
CSRF_COOKIE_SECURE = env.bool("CSRF_COOKIE_SECURE", default=not DEBUG)
SECURE_HSTS_SECONDS = whole("SECURE_HSTS_SECONDS", 0 if DEBUG else 31_536_000)
SECURE_HSTS_INCLUDE_SUBDOMAINS = env.bool("SECURE_HSTS_INCLUDE_SUBDOMAINS", default=not DEBUG)
SECURE_HSTS_PRELOAD = env.bool("SECURE_HSTS_PRELOAD", default=not DEBUG)
if env.bool("BEHIND_TLS_PROXY", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SESSION_COOKIE_HTTPONLY = True
X_FRAME_OPTIONS = "DENY"
SECURE_CSP = {
    "default-src": [CSP.SELF],
    "script-src": [CSP.SELF],
    "style-src": [CSP.SELF],
    "img-src": [CSP.SELF, "data:"],
    "object-src": [CSP.NONE],
    "base-uri": [CSP.NONE],
    "frame-ancestors": [CSP.NONE],
}

# The API

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "workers_app.api.authentication.BearerAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["workers_app.api.permissions.PersonWithPermission"],
    "DEFAULT_RENDERER_CLASSES": [
        "rest_framework.renderers.JSONRenderer",
        "config.renderers.BrowsablePages",
    ],
    "DEFAULT_PARSER_CLASSES": ["config.parsers.BoundedJSONParser"],
    "DEFAULT_PAGINATION_CLASS": "config.api.Page",
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "config.api.exception_handler",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "BERT Training",
    "DESCRIPTION": "Datasets, runs, the job queue, metrics and logs of self-hosted BERT training.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/bert-training/api",
    "PATH_CONVERTER_OVERRIDES": {"id": int},
    "ENUM_NAME_OVERRIDES": {
        "StatusEnum": "runs_app.choices.Status",
        "TaskTypeEnum": "datasets_app.models.TaskType",
        "FailureReasonEnum": "runs_app.choices.FailureReason",
        "ReleaseReasonEnum": "runs_app.choices.ReleaseReason",
    },
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", default="INFO")},
}
