"""The training child, of which the second process cannot pack, as on an older GPU than the first has."""

import os
import sys

from worker_client.training import packing
from worker_client.training.__main__ import main

if os.environ["RANK"] == "1":
    packing._refutation = lambda *_: "this GPU is too old"
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
