"""One worker per work folder: two would share checkpoints and give each other's jobs back."""

import sys
from pathlib import Path
from typing import IO

from worker_client.settings import BadSetting

if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[bytes]) -> None:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(file: IO[bytes]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


class WorkDirLock:
    """Held until the process ends, however it ends: the system releases it."""

    def __init__(self, work_dir: Path) -> None:
        self._work_dir = work_dir
        self._file: IO[bytes] | None = None

    def acquire(self) -> None:
        """Raises BadSetting when another worker uses the folder."""
        self._file = (self._work_dir / "worker.lock").open("ab")
        try:
            _lock(self._file)
        except OSError as error:
            self.release()
            raise BadSetting(
                f"Another worker is running in {self._work_dir}: stop it, or give this one its own --work-dir."
            ) from error

    def release(self) -> None:
        """Let another worker in."""
        if self._file:
            self._file.close()
            self._file = None
