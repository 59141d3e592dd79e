"""Why a job waits, in one sentence that a person understands."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db.models import Exists, OuterRef
from django.utils.formats import date_format, number_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _

from runs_app.choices import Status
from runs_app.models import BUILTIN_TINY_BERT, Attempt, BaseModel, Job, Run
from runs_app.services.capability import Lack, lack_of
from workers_app.models import Worker

LOOKED_AT = 200  # pending jobs from the front of the queue that are matched with the idle workers


@dataclass(frozen=True)
class Fleet:
    """The workers as they are at one moment, read once for the whole queue."""

    workers: list[Worker]  # enabled
    has_disabled: bool
    online: list[Worker]
    idle: list[Worker]
    first: frozenset[int]  # the pending jobs that the idle workers take next
    catalogue: dict[str, BaseModel]
    at: datetime

    @classmethod
    def now(cls, now: datetime) -> "Fleet":
        """Look at all of them."""
        live = Attempt.objects.filter(worker=OuterRef("pk"), ended_at=None).order_by()
        known: list[Any] = list(Worker.objects.annotate(is_busy=Exists(live)).order_by("pk"))
        workers = [worker for worker in known if worker.enabled]
        online = [worker for worker in workers if worker.is_online(now)]
        idle = [worker for worker in online if not worker.is_busy and not worker.draining]
        catalogue = {model.model_id: model for model in BaseModel.objects.all()}
        fleet = cls(workers, len(workers) < len(known), online, idle, frozenset(), catalogue, now)
        return replace(fleet, first=fleet._taken_next())

    def _taken_next(self) -> frozenset[int]:
        """One job for each idle worker, in the order of the queue."""
        free, taken = list(self.idle), set()
        pending = Job.objects.filter(status=Status.PENDING).select_related("run").order_by("-priority", "id")
        for job in pending[:LOOKED_AT] if free else ():
            taker = next((worker for worker in free if self.may_take(worker, job)), None)
            if taker is not None:
                free.remove(taker)
                taken.add(job.pk)
        return frozenset(taken)

    def may_take(self, worker: Worker, job: Job) -> bool:
        """Whether a claim of this idle worker could be answered with this job."""
        is_held_back = job.not_before is not None and job.not_before > self.at
        return not is_held_back and not self.is_reserved(job, worker) and not self.lack(worker, job.run)

    def is_reserved(self, job: Job, worker: Worker) -> bool:
        """Whether the job is left for another worker at the moment."""
        return job.reserved_until is not None and job.reserved_until > self.at and job.worker_id != worker.pk

    def lack(self, worker: Worker, run: Run) -> Lack | None:
        """What keeps the worker from this run for good."""
        return lack_of(worker, run, self.catalogue)


def waiting_reason(job: Job, fleet: Fleet) -> str | None:
    """The sentence; None for a job that does not wait."""
    if job.status == Status.PAUSED:
        return _("Paused by a person. Resume it to put it back into the queue.")
    if job.status != Status.PENDING:
        return None
    return obstacle(job.run, fleet) or _held_back(job, fleet) or _turn(job, fleet)


def obstacle(run: Run, fleet: Fleet) -> str:
    """Why no worker at hand can train `run`, queued or only planned; empty where one can."""
    return _nobody_there(fleet) or _nobody_able(run, fleet)


def _nobody_there(fleet: Fleet) -> str:
    if not fleet.workers and fleet.has_disabled:
        return _("Every worker is disabled. Enable one on its page, and start it.")
    if not fleet.workers:
        return _("No worker has been registered yet. Register one and start it on a PC with a GPU.")
    if not fleet.online:
        return _("No worker is connected. Start a worker, or wait for it to come back.")
    return ""


def _nobody_able(run: Run, fleet: Fleet) -> str:
    lacks = [fleet.lack(worker, run) for worker in fleet.online]
    found = [lack for lack in lacks if lack is not None]
    if len(found) < len(lacks):
        return ""
    needed = max(lack.needed_bytes for lack in found)
    if not needed:
        told = _("No connected worker has the base model %(model)s, and none may download it (--offline).")
        return told % {"model": run.base_model}
    told = _("No connected worker has a GPU large enough: this run needs about %(size)s GB. Take a smaller base model.")
    return told % {"size": number_format(needed / 1e9, 1)}


def _held_back(job: Job, fleet: Fleet) -> str:
    if job.not_before is not None and job.not_before > fleet.at:
        return _("The last attempt failed. It is tried again at %(time)s.") % {"time": _clock(job.not_before)}
    if job.reserved_until is not None and job.reserved_until > fleet.at and job.worker is not None:
        told = _("Worker %(worker)s has its checkpoint of step %(step)s. Until %(time)s no other may take it.")
        step = number_format(job.checkpoint_step or 0)
        return told % {"worker": job.worker, "step": step, "time": _clock(job.reserved_until)}
    return ""


def _turn(job: Job, fleet: Fleet) -> str:
    if all(worker.draining for worker in fleet.online):
        return _("No connected worker takes new runs. This is changed on the worker's page.")
    if not fleet.idle:
        return _("Every connected worker is busy with another run.")
    if job.pk not in fleet.first:
        return _("Other runs are ahead of it in the queue.")
    if job.run.base_model == BUILTIN_TINY_BERT:
        return _("A worker is free and takes it with its next request.")
    return _("A worker is free and takes it with its next request; it downloads the base model first if it lacks it.")


def _clock(moment: datetime) -> str:
    local = localtime(moment)
    shown = date_format(local, "TIME_FORMAT")
    # The API speaks UTC, whose readers need not be where the clock says so.
    return f"{shown} UTC" if local.tzname() == "UTC" else shown
