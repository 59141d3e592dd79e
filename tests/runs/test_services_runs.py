"""What people do to runs: create, reproduce, cancel, pause, resume, reorder."""

from typing import Any

import pytest
from django.utils import timezone

from runs_app.choices import ReleaseReason, Status
from runs_app.hyperparameters import InvalidHyperparameters
from runs_app.models import BaseModel, Job, Run
from runs_app.services import queue, runs
from runs_app.services.errors import InvalidTransition
from tests.factories import claim, make_dataset, make_job, make_run, make_running_job, make_user
from workers_app.models import Worker

pytestmark = pytest.mark.django_db


def ask(service: Any, run: Run) -> Job:
    return service(run=run, user=None, now=timezone.now())


def paused_run() -> Run:
    run = make_run()
    ask(runs.request_pause, run)
    return run


def run_in(status: Status) -> Run:
    """A run brought into `status` by the services."""
    if status == Status.PENDING:
        return make_run()
    if status == Status.PAUSED:
        return paused_run()
    job = make_running_job()
    held = {"job_id": job.pk, "attempt": 1, "worker": job.worker, "now": timezone.now()}
    if status == Status.COMPLETED:
        queue.complete_job(**held, result=queue.Result(model_path="run"))
    elif status == Status.FAILED:
        queue.fail_job(**held, reason="nan_loss", message="nan")  # type: ignore[arg-type]
    elif status == Status.CANCELLED:
        ask(runs.request_cancel, job.run)
        queue.release_job(**held, reason=ReleaseReason.CANCELLED)
    return job.run


# Create


def test_a_new_run_is_pending_with_its_job_queued() -> None:
    dataset, user, now = make_dataset(), make_user(), timezone.now()
    run = make_run(dataset, given={"epochs": 2}, seed=7, priority=3, notes="why", user=user, now=now)
    assert (run.status, run.seed, run.notes, run.created_by) == ("pending", 7, "why", user)
    assert (run.dataset_sha256, run.task_type) == (dataset.sha256_hash, dataset.task_type)
    assert (run.epochs, run.batch_size) == (2, 16)
    assert (run.job.status, run.job.attempt, run.job.priority, run.job.queued_at) == ("pending", 0, 3, now)


def test_a_new_run_without_a_name_is_called_after_its_sheet_and_model() -> None:
    assert make_run(make_dataset(name="Decisões")).name == "Decisões · tiny-bert"


def test_the_name_made_up_for_a_run_fits_its_column() -> None:
    run = make_run(make_dataset(name="D" * 200))
    assert len(run.name) <= 200


def test_a_run_pins_the_revision_of_its_base_model() -> None:
    entry = BaseModel.objects.get(model_id="neuralmind/bert-base-portuguese-cased")
    assert entry.revision
    assert make_run(base_model=entry.model_id).base_model_revision == entry.revision


@pytest.mark.parametrize("name", ["nobody/nothing", "", "builtin/tiny-bert "])
def test_a_base_model_outside_the_catalogue_is_refused(name: str) -> None:
    with pytest.raises(runs.BaseModelNotOffered):
        make_run(base_model=name)
    assert not Run.objects.exists()


def test_a_disabled_base_model_is_refused() -> None:
    BaseModel.objects.update(enabled=False)
    with pytest.raises(runs.BaseModelNotOffered):
        make_run()


def test_an_invalid_hyperparameter_creates_nothing() -> None:
    with pytest.raises(InvalidHyperparameters):
        make_run(given={"epochs": 0})
    assert not Run.objects.exists()


# Reproduce


def test_a_reproduction_has_the_same_inputs_and_names_its_source() -> None:
    source = make_run(given={"epochs": 3, "learning_rate": 1e-4}, seed=7)
    copy = runs.reproduce_run(source=source, now=timezone.now())
    for field in ("dataset", "dataset_sha256", "task_type", "base_model", "base_model_revision", "seed"):
        assert getattr(copy, field) == getattr(source, field)
    assert copy.hyperparameters == source.hyperparameters
    assert (copy.reproduced_from, copy.status, copy.job.status) == (source, "pending", "pending")
    assert copy.pk != source.pk


def test_a_reproduction_keeps_the_revision_although_the_catalogue_moved_on() -> None:
    source = make_run(base_model="xlm-roberta-base")
    BaseModel.objects.update(revision="0" * 40)
    assert runs.reproduce_run(source=source, now=timezone.now()).base_model_revision == source.base_model_revision


def test_the_name_of_a_reproduction_fits_its_column() -> None:
    source = make_run(name="x" * 200)
    assert len(runs.reproduce_run(source=source, now=timezone.now()).name) <= 200


# Cancel


@pytest.mark.parametrize("status", [Status.PENDING, Status.PAUSED])
def test_a_waiting_run_is_cancelled_at_once(status: Status) -> None:
    run = run_in(status)
    assert ask(runs.request_cancel, run).status == Status.CANCELLED
    run.refresh_from_db()
    assert (run.status, run.finished_at is not None) == ("cancelled", True)


def test_a_running_run_is_asked_to_stop_and_runs_on_until_its_worker_answers() -> None:
    job = make_running_job()
    after = ask(runs.request_cancel, job.run)
    assert (after.status, after.cancel_requested_at is not None) == ("running", True)


def test_cancelling_twice_changes_nothing() -> None:
    job = make_running_job()
    first = ask(runs.request_cancel, job.run).cancel_requested_at
    assert ask(runs.request_cancel, job.run).cancel_requested_at == first
    assert job.events.filter(reason="cancel_requested").count() == 1


def test_cancelling_a_cancelled_run_changes_nothing() -> None:
    run = run_in(Status.CANCELLED)
    events = run.job.events.count()
    assert ask(runs.request_cancel, run).status == Status.CANCELLED
    assert run.job.events.count() == events


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED])
def test_a_run_that_is_over_cannot_be_cancelled(status: Status) -> None:
    run = run_in(status)
    with pytest.raises(InvalidTransition):
        ask(runs.request_cancel, run)
    run.refresh_from_db()
    assert run.status == status


def test_cancelling_a_run_whose_worker_is_gone_needs_no_worker(worker: Worker) -> None:
    job = make_running_job(worker)
    assert job.lease_expires_at is not None
    after = runs.request_cancel(run=job.run, user=None, now=job.lease_expires_at)
    assert after.status == Status.CANCELLED


# Pause and resume


def test_a_pending_run_is_parked_and_nobody_can_claim_it(worker: Worker) -> None:
    run = make_run()
    assert ask(runs.request_pause, run).status == Status.PAUSED
    run.refresh_from_db()
    assert run.status == Status.PAUSED
    assert claim(worker) is None


def test_pausing_twice_changes_nothing() -> None:
    run = paused_run()
    events = run.job.events.count()
    assert ask(runs.request_pause, run).status == Status.PAUSED
    assert run.job.events.count() == events


def test_a_running_run_is_asked_to_save_and_stop() -> None:
    job = make_running_job()
    after = ask(runs.request_pause, job.run)
    assert (after.status, after.pause_requested_at is not None) == ("running", True)


@pytest.mark.parametrize("service", [runs.request_pause, runs.resume_run])
@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
def test_a_run_that_is_over_can_be_neither_paused_nor_resumed(service: Any, status: Status) -> None:
    run = run_in(status)
    with pytest.raises(InvalidTransition):
        ask(service, run)


def test_a_run_that_is_being_cancelled_cannot_be_paused() -> None:
    job = make_running_job()
    ask(runs.request_cancel, job.run)
    with pytest.raises(InvalidTransition):
        ask(runs.request_pause, job.run)


def test_a_run_that_is_being_paused_can_be_cancelled() -> None:
    job = make_running_job()
    ask(runs.request_pause, job.run)
    assert ask(runs.request_cancel, job.run).cancel_requested_at is not None


def test_a_paused_run_is_resumed_into_the_queue(worker: Worker) -> None:
    run = paused_run()
    assert ask(runs.resume_run, run).status == Status.PENDING
    run.refresh_from_db()
    assert run.status == Status.PENDING
    assert claim(worker) is not None


def test_resuming_a_pending_run_changes_nothing() -> None:
    run = make_run()
    assert ask(runs.resume_run, run).status == Status.PENDING
    assert run.job.events.count() == 1


def test_a_pause_not_yet_met_is_withdrawn_by_resuming() -> None:
    job = make_running_job()
    ask(runs.request_pause, job.run)
    after = ask(runs.resume_run, job.run)
    assert (after.status, after.pause_requested_at) == ("running", None)


def test_a_running_run_that_nobody_paused_cannot_be_resumed() -> None:
    job = make_running_job()
    with pytest.raises(InvalidTransition):
        ask(runs.resume_run, job.run)


# Order


def reasons(run: Run) -> list[str]:
    return list(run.job.events.values_list("reason", flat=True))


def test_a_waiting_run_moves_forward_in_the_queue(worker: Worker) -> None:
    make_job()
    run = make_run()
    runs.set_priority(run=run, priority=10, user=None, now=timezone.now())
    job = claim(worker)
    assert job is not None
    assert job.run == run
    assert "priority 10" in reasons(run)


@pytest.mark.parametrize("status", [Status.RUNNING, Status.COMPLETED])
@pytest.mark.parametrize("priorities", [[], [3]])
def test_a_run_that_does_not_wait_has_no_place_to_change(status: Status, priorities: list[int]) -> None:
    run = run_in(status)
    for priority in priorities:
        make_run(priority=priority)
    with pytest.raises(InvalidTransition):
        runs.set_priority(run=run, priority=10, user=None, now=timezone.now())
    with pytest.raises(InvalidTransition):
        ask(runs.move_to_front, run)


def test_moving_to_the_front_takes_the_next_higher_priority() -> None:
    make_run(priority=4)
    make_run(priority=7)
    assert ask(runs.move_to_front, make_run()).priority == 8


def test_the_first_run_stays_as_it_is() -> None:
    run = make_run(priority=-2)
    make_run(priority=-5)
    assert ask(runs.move_to_front, run).priority == -2
    assert reasons(run) == ["created"]


def test_no_priority_is_above_the_highest() -> None:
    make_run(priority=runs.MAX_PRIORITY)
    with pytest.raises(InvalidTransition):
        ask(runs.move_to_front, make_run())


# The archive


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
def test_a_run_that_is_over_is_archived_once_and_brought_back(status: Status) -> None:
    run, now = run_in(status), timezone.now()
    for _time in range(2):
        runs.archive_run(run=run, user=None, now=now)
    run.refresh_from_db()
    assert run.archived_at == now
    assert run.status == status
    for _time in range(2):
        runs.unarchive_run(run=run, user=None, now=now)
    run.refresh_from_db()
    assert run.archived_at is None
    assert reasons(run)[-2:] == ["archived", "unarchived"]
    assert reasons(run).count("archived") == 1


@pytest.mark.parametrize("status", [Status.PENDING, Status.PAUSED, Status.RUNNING])
def test_a_run_that_is_not_over_is_not_archived(status: Status) -> None:
    run = run_in(status)
    with pytest.raises(InvalidTransition):
        runs.archive_run(run=run, user=None, now=timezone.now())
    run.refresh_from_db()
    assert run.archived_at is None
