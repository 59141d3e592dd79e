"""The server's settings as on a real server, with collected files in a scratch folder."""

import os
from pathlib import Path

from config.settings import *  # noqa: F403

STATIC_ROOT = Path(os.environ["BENCH_STATIC_ROOT"])
WHITENOISE_USE_FINDERS = False
