"""The server's settings for tests: the same file, with a secret of its own and quick password hashing."""

import os
import tempfile
from pathlib import Path

_scratch = Path(tempfile.gettempdir()) / f"bert-training-tests-{os.getpid()}"
os.environ.setdefault("SECRET_KEY", "only-for-tests")
os.environ.setdefault("DEBUG", "0")
os.environ.setdefault("SECURE_SSL_REDIRECT", "0")
os.environ["MEDIA_ROOT"] = str(_scratch / "media")

from config.settings import *  # noqa: E402, F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
ALLOWED_HOSTS = ["*"]
