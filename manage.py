#!/usr/bin/env python
"""The server's command line."""

import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        from django.core.management import execute_from_command_line
    except ImportError as error:
        raise SystemExit(f"Django is not installed in this Python ({error}). Run `make setup` first.") from error
    execute_from_command_line(sys.argv)
