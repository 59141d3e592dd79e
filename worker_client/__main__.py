"""`python -m worker_client`."""

import sys

from worker_client.cli import main

if __name__ == "__main__":
    sys.exit(main())
