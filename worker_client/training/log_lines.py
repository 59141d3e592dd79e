"""Log lines of the child into the spool, from where they reach the run page."""

import logging
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from worker_client.spool import Spool

OWN = "worker_client"


class SpoolHandler(logging.Handler):
    """Our INFO and above, and the warnings of libraries."""

    def __init__(self, spool: Spool) -> None:
        super().__init__(logging.INFO)
        self._spool = spool
        self.addFilter(lambda record: record.name.startswith(OWN) or record.levelno >= logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        """A line that cannot be written must not end the training."""
        try:
            self._spool.append_log(record.levelname, self.format(record))
        except sqlite3.Error:
            pass
        except Exception:
            self.handleError(record)


@contextmanager
def routed_logs(spool: Spool) -> Iterator[None]:
    """Every logger of this process writes to the spool; a warning of Python becomes a line, once."""
    handler = SpoolHandler(spool)
    handler.setFormatter(logging.Formatter("%(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    logging.getLogger(OWN).setLevel(logging.INFO)
    logging.captureWarnings(True)
    with warnings.catch_warnings():
        warnings.simplefilter("once")
        try:
            yield
        finally:
            logging.captureWarnings(False)
            root.removeHandler(handler)


def quieten_transformers() -> None:
    """Its warnings go the common way; what it says of a new head without weights is what we asked for."""
    from transformers.utils import logging as library

    library.disable_default_handler()
    library.enable_propagation()
    library.disable_progress_bar()
    library.set_verbosity_error()
