"""The real worker program, with the stub in the place of the training child."""

import sys
from pathlib import Path

from worker_client.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], command=(sys.executable, str(Path(__file__).with_name("stub_child.py")))))
