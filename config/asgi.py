"""The ASGI application that uvicorn serves: Django, and before it what waits."""

import gc
import os

import django
from django.core.exceptions import ImproperlyConfigured

from config.handler import OneThreadHandler

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
try:
    django.setup(set_prefix=False)
    handler = OneThreadHandler()
except ImproperlyConfigured as error:
    raise SystemExit(f"The server does not start: {error}") from None  # one line, not a page of frames

import config.urls  # noqa: F401  now, and not with the first request
from config.bodies import BoundedBodies
from runs_app.api.live_streams import LiveStreams
from runs_app.api.refreshes import RefreshesInLine
from runs_app.api.waiting_claims import WaitingClaims

# What is loaded by now stays for good. A full collection would look through all of it and stop every request for a
# sixth of a second.
gc.collect()
gc.freeze()

application = BoundedBodies(WaitingClaims(LiveStreams(RefreshesInLine(handler))))
