"""The ASGI application that uvicorn serves: Django, and before it what waits."""

import os

from django.core.asgi import get_asgi_application
from django.core.exceptions import ImproperlyConfigured

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
try:
    django = get_asgi_application()
except ImproperlyConfigured as error:
    raise SystemExit(f"The server does not start: {error}") from None  # one line, not a page of frames

from runs_app.api.waiting_claims import WaitingClaims

application = WaitingClaims(django)
