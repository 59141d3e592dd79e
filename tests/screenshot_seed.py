"""Realistic rows for the pictures: runs in every state, long names, figures, a log, a failed and a waiting run."""

import math
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from django.contrib.auth.models import User
from django.db.models import F
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from runs_app.choices import FailureReason, Status
from runs_app.models import BaseModel, GpuSample, Job, LogEntry, Run, TrainedModel
from runs_app.services import queue, runs, telemetry
from tests.factories import make_dataset, make_run, make_worker
from workers_app import services as workers
from workers_app.models import Worker

LABELS = ["Direito administrativo", "Saúde", "Tributário", "Ambiental", "Execução fiscal", "Servidor público"]
COUNTS = [2410, 1102, 873, 512, 431, 27]
LONG_NAME = "Petições iniciais da Procuradoria de Saúde, 2019 a 2025, rótulos revisados pela equipe de Campo Grande"
BERTIMBAU = "neuralmind/bert-base-portuguese-cased"


def first_day() -> tuple[dict[str, str], str]:
    """The pages before anything was done, and the session of the one person there is, who may do everything."""
    client = Client()
    client.force_login(User.objects.create_superuser("ana", password="only-for-screenshots"))
    lists = {
        "first-datasets": "datasets_app_dataset",
        "first-runs": "runs_app_run",
        "first-queue": "runs_app_job",
        "first-workers": "workers_app_worker",
        "first-trained-models": "runs_app_trainedmodel",
    }
    pages = {name: reverse(f"admin:{model}_changelist") for name, model in lists.items()}
    return {"first-index": reverse("admin:index"), **pages}, client.cookies["sessionid"].value


def sow() -> dict[str, str]:
    """Thirty runs in every state on four workers; returns the addresses of the pages by name."""
    ana = User.objects.get(username="ana")
    datasets = [_dataset(ana, "Andamentos do PJe"), _dataset(ana, LONG_NAME), _entities(ana)]
    machines = [_machine(name) for name in ("gpu-pge-01", "gpu-pge-02", "notebook-da-sala-3")]
    done, archived = _completed(datasets[0], machines[0], ana), _completed(datasets[0], machines[0], ana, f1=0.5)
    failed = _failed(datasets[1], machines[0], ana)
    for number in range(15):
        _completed(datasets[number % 3], machines[1], ana, f1=0.71 + number / 80)
    for reason in (FailureReason.NAN_LOSS, FailureReason.INVALID_DATA, FailureReason.DATASET_MISMATCH):
        _failed(datasets[0], machines[1], ana, reason)
    for dataset in datasets:
        runs.request_cancel(run=make_run(dataset, base_model=BERTIMBAU, user=ana), user=ana, now=timezone.now())
    running = _running(datasets[1], machines[0], ana)
    paused = make_run(datasets[2], base_model=BERTIMBAU, user=ana)
    runs.request_pause(run=paused, user=ana, now=timezone.now())
    waiting = [make_run(datasets[0], base_model=BERTIMBAU, user=ana, priority=number) for number in (0, 5, 0, 0)]
    workers.create_api_token(user=ana)
    Worker.objects.filter(name="notebook-da-sala-3").update(last_seen_at=timezone.now() - timedelta(minutes=12))
    workers.set_enabled(worker=make_worker("gpu-antiga")[0], enabled=False)
    runs.archive_run(run=archived, user=ana, now=timezone.now())
    _spread_over_days()
    _vary(datasets[0])
    return _pages(datasets, done, failed, running, waiting[0], machines)


def _vary(dataset: Any) -> None:
    """Parameters that differ, for the comparison."""
    for number, run in enumerate(Run.objects.filter(dataset=dataset, status=Status.COMPLETED).order_by("pk")):
        values = {"learning_rate": (2e-5, 3e-5, 5e-5)[number % 3], "batch_size": (8, 16, 32)[number % 3]}
        Run.objects.filter(pk=run.pk).update(**values, max_length=(128, 256, 512)[number // 2 % 3])


def _spread_over_days() -> None:
    """One run every seven hours, ended ones with it; what goes on stays today's."""
    for age, run in enumerate(Run.objects.exclude(finished_at=None).order_by("-pk"), start=1):
        then = timezone.now() - timedelta(hours=7 * age)
        took = timedelta(minutes=3 if run.status == Status.FAILED else 20 + run.pk * 7 % 90)
        Run.objects.filter(pk=run.pk).update(
            created_at=then - took - timedelta(minutes=2),
            started_at=then - took if run.started_at else None,
            finished_at=then,
        )
        _move_to(run, then, took)
    for waited, job in enumerate(Job.objects.filter(status=Status.PENDING).order_by("-pk"), start=1):
        Job.objects.filter(pk=job.pk).update(queued_at=timezone.now() - timedelta(minutes=4 * waited))


def _move_to(run: Run, then: datetime, took: timedelta) -> None:
    """What hangs on a run that ended `then`."""
    back = timezone.now() - then
    run.job.attempts.update(started_at=then - took, ended_at=then)
    TrainedModel.objects.filter(run=run).update(created_at=then)
    for moments in (run.job.events.order_by().all(), run.job.gpu_samples.order_by().all()):
        moments.update(at=F("at") - back)
    run.job.events.filter(from_status="").update(at=then - took - timedelta(minutes=2))
    run.job.events.filter(to_status=Status.RUNNING).update(at=then - took)
    run.job.gpu_samples.filter(at__lt=then - took).delete()
    LogEntry.objects.filter(job=run.job).update(timestamp=F("timestamp") - back)


def _pages(datasets: Any, done: Run, failed: Run, running: Run, waiting: Run, machines: list[Worker]) -> dict[str, str]:
    def change(model: str, pk: int) -> str:
        return reverse(f"admin:{model}_change", args=[pk])

    compare = reverse("admin:runs_app_run_compare")
    ended = list(done.dataset.runs.filter(status=Status.COMPLETED).order_by("pk").values_list("pk", flat=True)[:7])
    other = Run.objects.filter(dataset=datasets[1], status=Status.COMPLETED).earliest("pk")
    return {
        "index": reverse("admin:index"),
        "datasets": reverse("admin:datasets_app_dataset_changelist"),
        "dataset": change("datasets_app_dataset", datasets[1].pk),
        "dataset-upload": reverse("admin:datasets_app_dataset_add"),
        "runs": reverse("admin:runs_app_run_changelist"),
        "runs-archived": reverse("admin:runs_app_run_changelist") + "?archived=1",
        "runs-nothing-found": reverse("admin:runs_app_run_changelist") + "?q=inexistente",
        "run-new": reverse("admin:runs_app_run_add") + f"?dataset={datasets[1].pk}",
        "run-duplicate": reverse("admin:runs_app_run_add") + f"?source={done.pk}",
        "run-compare-nothing": compare,
        "run-compare": f"{compare}?ids={','.join(str(pk) for pk in ended)}",
        "run-compare-differences": f"{compare}?ids={ended[0]},{ended[1]},{other.pk},999&diff=1",
        "run-completed": change("runs_app_run", done.pk),
        "run-failed": change("runs_app_run", failed.pk),
        "run-running": change("runs_app_run", running.pk),
        "run-waiting": change("runs_app_run", waiting.pk),
        "run-cancel": reverse("admin:runs_app_run_ask", args=[running.pk, "cancel"]),
        "run-reproduce": reverse("admin:runs_app_run_ask", args=[done.pk, "reproduce"]),
        "trained-models": reverse("admin:runs_app_trainedmodel_changelist"),
        "queue": reverse("admin:runs_app_job_changelist"),
        "base-models": reverse("admin:runs_app_basemodel_changelist"),
        "base-model": change("runs_app_basemodel", BaseModel.objects.get(model_id=BERTIMBAU).pk),
        "workers": reverse("admin:workers_app_worker_changelist"),
        "worker": change("workers_app_worker", machines[0].pk),
        "worker-register": reverse("admin:workers_app_worker_add"),
        "people": reverse("admin:auth_user_changelist"),
        "person": change("auth_user", User.objects.get(username="ana").pk),
        "groups": reverse("admin:auth_group_changelist"),
        "api-tokens": reverse("admin:workers_app_apitoken_changelist"),
        "api-token-new": reverse("admin:workers_app_apitoken_add"),
    }


def _dataset(user: User, name: str) -> Any:
    warnings = [
        {"code": "rare_class", "count": 27, "rows": [12, 80, 311], "params": {"classes": [LABELS[-1]], "below": 30}},
        {"code": "duplicate_text", "count": 143, "rows": list(range(40, 183)), "params": {"unit": "rows"}},
        {"code": "contradictory_labels", "count": 6, "rows": [7, 19, 77, 90, 102, 400], "params": {"unit": "rows"}},
        {"code": "long_text", "count": 803, "rows": [3, 5], "params": {"share": 0.15, "max_length": 256}},
    ]
    characters = {"min": 19, "p50": 512, "p90": 1804, "p99": 5003, "max": 12904, "mean": 702.4}
    split = {
        "sizes": {"train": 4284, "validation": 536, "test": 535},
        "basis": "cnj",
        "groups": 3120,
        "leaked_by_random": {"groups": 212, "texts": 37, "near_duplicates": 61},
        "leaked_by_ours": {"groups": 0, "texts": 0, "near_duplicates": 0},
    }
    identifiers = {"cnj": {"count": 4120, "rows_count": 3980}, "cpf": {"count": 12, "rows_count": 9}}
    difference = {"added": 312, "removed": 4, "relabelled": 27, "unchanged": 5012, "relabelled_rows": [12, 80, 311]}
    words = {"min": 4, "p50": 88, "p90": 301, "p99": 820, "max": 2104, "mean": 120.3}
    beyond = [
        {"max_length": 128, "share": 0.41},
        {"max_length": 256, "share": 0.15},
        {"max_length": 512, "share": 0.04},
    ]
    return make_dataset(
        name=name,
        description="Exportação de outubro; rótulos dados pela equipe.",
        created_by=user,
        num_rows=sum(COUNTS),
        labels=[{"name": label, "count": count} for label, count in zip(LABELS, COUNTS, strict=True)],
        report={
            "warnings": warnings,
            "quality": {
                "words": words,
                "characters": characters,
                "beyond": beyond,
                "split": split,
                "identifiers": identifiers,
            },
            "difference": difference,
        },
    )


def _entities(user: User) -> Any:
    tags = {"O": 90512, "B-PESSOA": 1204, "I-PESSOA": 2033, "B-ORGANIZACAO": 3011, "I-ORGANIZACAO": 6120}
    return make_dataset(
        name="LeNER-Br",
        created_by=user,
        task_type="token_classification",
        columns={"tokens": "tokens", "tags": "tags"},
        num_rows=7827,
        labels=[{"name": name, "count": count} for name, count in tags.items()],
    )


def _machine(name: str) -> Worker:
    worker = make_worker(name)[0]
    facts = {
        "hostname": f"{name}.pge.example",
        "platform": "Windows-11-10.0.26100",
        "cuda": "13.0",
        "gpus": [{"name": "NVIDIA RTX 4090", "memory_bytes": 24 * 2**30}],
        "python": "3.11.9",
        "torch": "2.13.0+cu130",
        "transformers": "5.23.0",
        "client_version": "0.1.0",
        "base_models": [BERTIMBAU],
    }
    workers.record_machine(worker=worker, facts=facts, now=timezone.now())
    workers.touch(worker=worker, now=timezone.now(), gpu_utilization=87.0, gpu_memory_bytes=11 * 2**30)
    return worker


def _claimed(dataset: Any, worker: Worker, user: User, started_ago: timedelta) -> Any:
    run = make_run(dataset, base_model=BERTIMBAU, user=user, given={"learning_rate": 3e-5, "epochs": 5})
    job = queue.claim_job(worker=worker, claim_id=uuid4(), now=timezone.now())
    assert job is not None
    assert job.run_id == run.pk
    Run.objects.filter(pk=run.pk).update(started_at=timezone.now() - started_ago)
    _lines(job, 60)
    return job


def _lines(job: Any, count: int) -> None:
    attempt = job.attempts.get(number=job.attempt)
    lines = [
        {
            "seq": number,
            "timestamp": timezone.now() - timedelta(seconds=20 * (count - number)),
            "level": "WARNING" if number == 7 else "INFO",
            "message": f"step {number * 10} of 1250, loss {1.9 * math.exp(-number / 25):.4f}, 212 rows/s",
        }
        for number in range(1, count + 1)
    ]
    telemetry.record_logs(attempt=attempt, lines=lines)


def _epochs(job: Any, count: int, best: float) -> None:
    points: list[dict[str, Any]] = []
    for epoch in range(1, count + 1):
        f1 = best - 0.2 * math.exp(-epoch)
        at = {"epoch": float(epoch), "step": epoch * 250}
        validation = {"loss": 0.3 + 0.1 * epoch / 5, "f1": f1, "precision": f1 + 0.01, "recall": f1 - 0.01}
        points.append({**at, "split": "train", "values": {"loss": 1.2 * math.exp(-epoch / 2)}})
        points.append({**at, "split": "validation", "values": {**validation, "accuracy": f1 + 0.03}})
    telemetry.record_metrics(job=job, points=points)


def _gpu(job: Any, minutes: int) -> None:
    """What a heartbeat every 30 s would have told: busy, with a dip at each evaluation."""
    began = timezone.now() - timedelta(minutes=minutes)
    GpuSample.objects.bulk_create(
        GpuSample(
            job=job,
            at=began + timedelta(seconds=30 * number),
            utilization=22.0 if number % 16 == 15 else 91.0 + number % 5,
            memory_bytes=int((9.5 + min(number, 6) / 4) * 2**30),
        )
        for number in range(2 * minutes)
    )


def _completed(dataset: Any, worker: Worker, user: User, f1: float = 0.9123) -> Run:
    job = _claimed(dataset, worker, user, timedelta(minutes=47))
    _epochs(job, 5, f1)
    _gpu(job, 47)
    per_class = [
        {"label": label, "precision": f1 - n / 50, "recall": f1 - n / 40, "f1": f1 - n / 45, "support": count // 10}
        for n, (label, count) in enumerate(zip(LABELS, COUNTS, strict=True))
    ]
    counts = [[(count // 10 if i == j else (i * 7 + j * 3) % 9) for j in range(6)] for i, count in enumerate(COUNTS)]
    figures = {"loss": 0.31, "accuracy": f1 + 0.02, "precision": f1 + 0.01, "recall": f1 - 0.01, "f1": f1}
    result = queue.Result(
        model_path=rf"D:\modelos\run-{job.run_id}",
        metrics={**figures, "baseline_f1": 0.1041, "baseline_accuracy": 0.4501},
        best_epoch=5.0,
        report={"per_class": per_class, "confusion_matrix": {"labels": LABELS, "counts": counts}},
        environment={
            "torch": "2.13.0",
            "device": "NVIDIA RTX 4090",
            "precision": "bf16",
            "gpu_memory_peak_bytes": 7 * 2**30,
        },
    )
    queue.complete_job(job_id=job.pk, attempt=job.attempt, worker=worker, result=result, now=timezone.now())
    return job.run


def _failed(dataset: Any, worker: Worker, user: User, reason: FailureReason = FailureReason.OUT_OF_MEMORY) -> Run:
    job = _claimed(dataset, worker, user, timedelta(minutes=3))
    halved = {"from": 2, "to": 1, "accumulation": 16}
    event = {"seq": 1, "timestamp": timezone.now(), "kind": "batch_halved", "details": halved}
    attempt = job.attempts.get(number=job.attempt)
    telemetry.record_events(attempt=attempt, worker=worker, events=[event], now=timezone.now())
    queue.fail_job(
        job_id=job.pk,
        attempt=job.attempt,
        worker=worker,
        reason=reason,
        message=(
            "The memory was not enough for 1 row of up to 256 sub-tokens at once in the training, with gradient "
            "checkpointing. This GPU has 2.1 GB; training a model of 109 million parameters takes about 1.7 GB before "
            "the first row. Lower max_length (128 instead of 256 halves what a row takes), or take a smaller base "
            "model."
        ),
        traceback="Traceback (most recent call last):\n  ...\ntorch.OutOfMemoryError: CUDA out of memory.",
        now=timezone.now(),
    )
    return job.run


def _running(dataset: Any, worker: Worker, user: User) -> Run:
    job = _claimed(dataset, worker, user, timedelta(minutes=21))
    assert job.status == Status.RUNNING
    _epochs(job, 2, 0.88)
    _gpu(job, 21)
    progress = {"phase": "training", "epoch": 2.4, "step": 600, "total_steps": 1250, "eta_seconds": 1290.0}
    telemetry.record_progress(job=job, progress=progress, now=timezone.now())
    return job.run
