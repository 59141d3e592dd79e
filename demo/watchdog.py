"""`python -m demo.watchdog WORK_DIR`: reads process ids from stdin; at its end, kills those that still run.

The demo holds the other end of that pipe. However the demo ends, `kill -9` included, the pipe ends with it.
"""

import sys
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from worker_client.child import kill_tree, orphan


def main(work_dir: Path) -> None:
    """Wait for the end of stdin, then clear up: the processes with all they started, and what a dead worker left."""
    guarded = [(int(line), _started(int(line))) for line in sys.stdin]
    for pid, started in guarded:
        if started is not None and _started(pid) == started:  # a later process may have got the number
            kill_tree(pid)
    for note in work_dir.glob("jobs/*/attempt-*/child.json"):
        process = orphan(note)
        if process is not None:
            kill_tree(process.pid)


def _started(pid: int) -> float | None:
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


if __name__ == "__main__":
    main(Path(sys.argv[1]))
