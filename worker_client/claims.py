"""The claim under way, written down before it is made: a lost answer or a crash then strands no job."""

import json
import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from uuid import UUID, uuid4

from worker_client.protocol import JobSpec
from worker_client.workspace import write_json

log = logging.getLogger("worker_client.claims")


@dataclass(frozen=True)
class Claim:
    """A claim id and, once the answer is here, the attempt that it brought."""

    claim_id: str
    job_id: int | None = None
    attempt: int | None = None


class ClaimFile:
    """claim.json in the work folder."""

    def __init__(self, work_dir: Path) -> None:
        self._path = work_dir / "claim.json"

    def read(self) -> Claim | None:
        """What an earlier process left, or None."""
        try:
            claim = Claim(**json.loads(self._path.read_text(encoding="utf-8")))
            UUID(claim.claim_id)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, AttributeError) as error:
            log.warning("%s cannot be read and is left aside: %s", self._path, error)
            return None
        return claim

    def open(self) -> Claim:
        """The claim that still waits for its answer, or a new one; on the disk either way."""
        claim = self.read()
        if claim is None or claim.job_id is not None:
            claim = Claim(str(uuid4()))
            write_json(self._path, asdict(claim))
        return claim

    def answered(self, claim: Claim, job: JobSpec) -> None:
        """Note the attempt before anything is done for it."""
        write_json(self._path, asdict(replace(claim, job_id=job.job_id, attempt=job.attempt)))

    def close(self) -> None:
        """The attempt is over and told."""
        self._path.unlink(missing_ok=True)
