"""The server's settings for tests: the same file, with a secret of its own, a database of its own and quick hashing."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from tests.databases import database_url

SCRATCH = Path(tempfile.mkdtemp(prefix="bert-training-tests-"))
atexit.register(shutil.rmtree, SCRATCH, ignore_errors=True)
os.environ.setdefault("SECRET_KEY", "only-for-tests")
os.environ.setdefault("DEBUG", "0")
os.environ.setdefault("SECURE_SSL_REDIRECT", "0")
os.environ["MEDIA_ROOT"] = str(SCRATCH / "media")
os.environ["DATABASE_URL"] = database_url(SCRATCH)

from config.settings import *  # noqa: E402, F403
from config.settings import DATABASES  # noqa: E402

if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file, not memory: threads and other processes are to be real second connections to it.
    DATABASES["default"]["TEST"] = {"NAME": str(SCRATCH / "test.sqlite3")}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
ALLOWED_HOSTS = ["*"]
STATIC_ROOT = SCRATCH / "static"
STATIC_ROOT.mkdir()
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = True  # looks for a static file when asked; each test client would read all of them first
