"""The ASGI application that uvicorn serves."""

import os

from django.core.asgi import get_asgi_application
from django.core.exceptions import ImproperlyConfigured

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
try:
    application = get_asgi_application()
except ImproperlyConfigured as error:
    raise SystemExit(f"The server does not start: {error}") from None  # one line, not a page of frames
