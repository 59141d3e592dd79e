"""What the page of a run shows, gathered from its rows: one function per block."""

from datetime import datetime, timedelta
from math import ceil
from pathlib import PureWindowsPath
from typing import Any

from django.urls import reverse
from django.utils.formats import date_format, number_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _

from config.display import NOTHING, duration, figure, parameter, percent
from runs_app.admin.curves import curves_summary, gpu_use, judged_name
from runs_app.admin.run_log import LEVELS, end_of_log, last_lines
from runs_app.admin.sentences import (
    actor_name,
    attempt_line,
    event_mood,
    event_sentence,
    failure_advice,
    gap_sentence,
    phase_word,
)
from runs_app.admin.words import METRIC_WORDS, option_word, parameter_label, status_badge
from runs_app.choices import TERMINAL, WAITING, Split, Status
from runs_app.hyperparameters import HYPERPARAMETERS
from runs_app.models import Job, Run
from runs_app.services.telemetry import gaps
from runs_app.services.waiting import Fleet, waiting_reason

MATRIX_LABELS = 30
HEAT_STEPS = 9
RARE_SUPPORT = 30  # test examples under which a figure says little
FIGURES = ("f1", "precision", "recall", "accuracy")
ETA_AFTER_STEPS = 20
LONGEST_ETA_S = 10 * 365 * 86400  # a date can be said no further than the year 9999


def live_context(run: Run, now: datetime) -> dict[str, Any]:
    """The part that changes while the run goes on; asked for again by the page."""
    epochs = epoch_rows(run)
    return {
        "run": run,
        "job": run.job,
        "head": head(run, now),
        "is_over": run.status in TERMINAL,
        "epochs": epochs,
        "best_epoch": next((f"{row['number']:g}" for row in epochs if row.get("is_best")), ""),
        "curves_summary": curves_summary(run, epochs),
        **gpu_use(run.job, now),
        "events": [(event.at, event_sentence(event), event_mood(event)) for event in run.job.events.all()],
        "attempts": attempts(run.job),
        **result(run),
    }


def attempts(job: Job) -> list[dict[str, Any]]:
    """Worker, sentence and, where something of it never arrived, what."""
    rows = list(job.attempts.select_related("worker"))
    missing = gaps(job, rows)
    return [
        {
            "worker": actor_name(f"worker:{attempt.worker}") if attempt.worker else NOTHING,
            "line": attempt_line(attempt),
            "gap": gap_sentence(missing[attempt.number]) if attempt.number in missing else "",
        }
        for attempt in rows
    ]


def still_context(run: Run) -> dict[str, Any]:
    """The part that is fixed when the run is made, and the last log lines."""
    pages = ("live", "curves", "log", "log_file")
    return {
        "inputs": inputs(run),
        "parameters": parameters(run),
        "log": last_lines(run.job),
        "log_levels": [(name, word) for name, (word, _levels) in LEVELS.items()],
        "judged_word": METRIC_WORDS.get(judged_name(run), judged_name(run)),
        "stream_url": reverse("run-logs", args=[run.pk]),
        **{f"{page}_url": reverse(f"admin:runs_app_run_{page}", args=[run.pk]) for page in pages},
    }


def head(run: Run, now: datetime) -> dict[str, Any]:
    """Status, progress, times; why it waits or why it failed."""
    job = run.job
    started, ended = run.started_at, run.finished_at or now
    shown: dict[str, Any] = {
        "badge": status_badge(run.status),
        "worker": job.worker if run.status not in WAITING else None,
        "duration": duration((ended - started).total_seconds()) if started else None,
        "waiting": waiting_reason(job, Fleet.now(now)) if run.status in WAITING else None,
        "progress": progress(run, now) if run.status == Status.RUNNING else None,
        "wish": wish(job),
    }
    if run.status == Status.FAILED:
        cause, advice = failure_advice(run)
        shown |= {"cause": cause, "advice": advice, "end_of_log": end_of_log(job)}
    return shown


def wish(job: Job) -> str:
    """What a person asked for and the worker has not done yet."""
    if job.status != Status.RUNNING:
        return ""
    if job.cancel_requested_at:
        return _("Cancellation requested: the worker stops with its next report.")
    return _("Pause requested: the worker saves a checkpoint and stops.") if job.pause_requested_at else ""


def share_done(job: Job) -> float:
    """Steps done of all steps, 0 to 1."""
    if job.status == Status.COMPLETED:
        return 1.0
    return min((job.step or 0) / job.total_steps, 1.0) if job.total_steps else 0.0


def progress(run: Run, now: datetime) -> dict[str, Any]:
    """The bar and its sentence; the page fills the same templates with what the stream tells."""
    job = run.job
    share = share_done(job)
    # Of a worker that is away there is no phase, and before the first step the sentence says it.
    is_stepping = job.total_steps and not _silence(job, now)
    return {
        "share": f"{share:.4f}",
        "percent": percent(share),
        "phase": phase_word(job.phase) if is_stepping else "",
        "sentence": progress_sentence(job, run.epochs, now),
        "epochs": run.epochs,
        "with_eta": _("Epoch {epoch} of {epochs} · step {step} of {total} · {left} left, until {clock}"),
        "without_eta": _("Epoch {epoch} of {epochs} · step {step} of {total} · estimating the remaining time…"),
    }


def progress_sentence(job: Job, epochs: int, now: datetime) -> str:
    """Epoch, step, remaining time and the hour at which it ends; or that nothing is heard of the worker."""
    if silent := _silence(job, now):
        return silent
    if not job.total_steps:
        return phase_word(job.phase) or _("Starting")
    facts = {"epoch": max(ceil(job.epoch or 0), 1), "epochs": epochs, "step": job.step or 0}
    facts["total"] = job.total_steps
    if job.eta_seconds is None or (job.step or 0) < ETA_AFTER_STEPS:
        template = _("Epoch {epoch} of {epochs} · step {step} of {total} · estimating the remaining time…")
        return template.format(**facts)
    ends = (job.progress_at or now) + timedelta(seconds=min(job.eta_seconds, LONGEST_ETA_S))
    template = _("Epoch {epoch} of {epochs} · step {step} of {total} · {left} left, until {clock}")
    return template.format(**facts, left=duration((ends - now).total_seconds()), clock=_clock(max(ends, now)))


def _silence(job: Job, now: datetime) -> str:
    """Of a worker that is away: since when, and until when the run is left to it. Else empty."""
    worker = job.worker
    if worker is None or worker.last_seen_at is None or job.lease_expires_at is None or worker.is_online(now):
        return ""
    facts = {"worker": worker, "clock": _clock(job.lease_expires_at)}
    if not worker.enabled:
        return _("Worker %(worker)s is disabled; the run is left to it until %(clock)s.") % facts
    told = _("Nothing heard of %(worker)s for %(time)s; the run is left to it until %(clock)s.")
    return told % {**facts, "time": duration((now - worker.last_seen_at).total_seconds())}


def _clock(moment: datetime) -> str:
    return date_format(localtime(moment), "TIME_FORMAT")


def epoch_rows(run: Run) -> list[dict[str, Any]]:
    """One row per validation, with the latest training loss before it; the best one is marked."""
    rows: list[dict[str, Any]] = []
    train_loss, has_gap = None, False
    points = run.epoch_metrics.exclude(split=Split.TEST).order_by("step", "id")
    for point in points.values_list("step", "epoch", "split", "values", named=True):
        if point.split == Split.TRAIN:
            train_loss = point.values.get("loss", train_loss)
            has_gap = train_loss is None
            if rows and rows[-1]["step"] == point.step:
                rows[-1] |= {"train_loss": figure(train_loss), "has_gap": has_gap or rows[-1]["has_gap"]}
            continue
        values = point.values
        rows.append(
            {
                "epoch": number_format(f"{point.epoch:g}"),
                "number": point.epoch,
                "step": point.step,
                "train_loss": figure(train_loss),
                "loss": figure(values.get("loss")),
                "figures": [figure(values.get(name)) for name in FIGURES],
                "judged_by": values.get(run.metric_for_best),
                "has_gap": has_gap or values.get("loss", 0) is None,
            }
        )
    _mark_best(rows, run)
    return rows


def _mark_best(rows: list[dict[str, Any]], run: Run) -> None:
    """By what the worker said once it is over; until then by the same rule."""
    judged = [row for row in rows if isinstance(row["judged_by"], int | float)]
    if run.best_epoch is not None:
        best = [row for row in rows if abs(row["number"] - run.best_epoch) < 1e-6]
    elif judged:
        choose = min if run.metric_for_best == "loss" else max
        best = [choose(judged, key=lambda row: row["judged_by"])]
    else:
        best = []
    for row in best[:1]:
        row["is_best"] = True


def result(run: Run) -> dict[str, Any]:
    """Test figures, per class, confusion matrix, the model; empty before the end."""
    order = [name for name in METRIC_WORDS if name in run.metrics]
    order += [name for name in run.metrics if name not in METRIC_WORDS]
    metrics = [(METRIC_WORDS.get(name, name), figure(run.metrics[name])) for name in order]
    per_class = class_rows(run)
    return {
        "test_figures": metrics,
        "per_class": per_class,
        "has_rare": any(row["is_rare"] for row in per_class),
        "matrix": matrix(run),
        "environment": [(name, value) for name, value in run.environment.items() if value not in (None, "")],
        "model": model_commands(run),
    }


def class_rows(run: Run) -> list[dict[str, Any]]:
    """Precision, recall, F1 and support per label, the most frequent first."""
    rows = run.report.get("per_class")
    if not isinstance(rows, list):
        return []
    rows = [row for row in rows if isinstance(row, dict)]
    return [
        {
            "label": row.get("label", ""),
            "figures": [figure(row.get(name)) for name in ("precision", "recall", "f1")],
            "f1": f"{_amount(row, 'f1'):.4f}",
            "support": _amount(row, "support"),
            "is_rare": _amount(row, "support") < RARE_SUPPORT,
        }
        for row in sorted(rows, key=lambda row: -_amount(row, "support"))
    ]


def _amount(row: dict[str, Any], name: str) -> float:
    """0 for what is no number: the report is a worker's word, and its page opens whatever that says."""
    value = row.get(name)
    return value if isinstance(value, int | float) else 0


def matrix(run: Run) -> dict[str, Any] | None:
    """Rows are what the sheet says, columns what the model says; a cell's shade is its share of the row."""
    found = run.report.get("confusion_matrix")
    labels, counts = (found.get("labels"), found.get("counts")) if isinstance(found, dict) else (None, None)
    if not isinstance(labels, list):
        return None
    if len(labels) > MATRIX_LABELS:
        return {"too_large": len(labels)}  # of still larger ones the worker sends the labels only
    if not counts or not _is_table(counts):
        return None
    rows = [
        {"label": label, "cells": [_cell(count, sum(row), at == column) for column, count in enumerate(row)]}
        for at, (label, row) in enumerate(zip(labels, counts, strict=False))
    ]
    return {"labels": labels, "rows": rows}


def _is_table(counts: Any) -> bool:
    rows = counts if isinstance(counts, list) else [None]
    return all(isinstance(row, list) and all(isinstance(count, int) for count in row) for row in rows)


def _cell(count: int, total: int, is_hit: bool) -> dict[str, Any]:
    share = count / total if total else 0.0
    return {"count": count, "heat": round(share * HEAT_STEPS), "share": percent(share), "is_hit": is_hit}


def model_commands(run: Run) -> dict[str, Any] | None:
    """Where the model lies and how it is used there."""
    if not hasattr(run, "model"):
        return None
    path = run.model.path
    task = run.task_type.replace("_", "-")
    extra = ", truncation=True" if task == "text-classification" else ""
    example = _("A text to try")
    python = r".venv\Scripts\python" if PureWindowsPath(path).drive else ".venv/bin/python"
    return {
        "worker": run.model.worker,
        "path": path,
        "sha256": run.model.sha256,
        "predict": f'{python} -m worker_client predict --model "{path}" --input planilha.xlsx --output resultado.xlsx',
        "pipeline": "from transformers import pipeline\n\n"
        f'modelo = pipeline("{task}", model=r"{path}")\nprint(modelo("{example}"{extra}))',
    }


def inputs(run: Any) -> list[tuple[str, Any]]:
    """What the run was made from. `base_model_label` stands beside it, as the admin's own query has it."""
    name = f"{run.base_model_label} ({run.base_model})" if run.base_model_label else run.base_model
    return [
        (_("Task"), run.get_task_type_display()),
        (_("Base model"), name),
        (_("Revision"), run.base_model_revision[:12]),
        (_("Seed"), run.seed),
        (_("SHA-256 of the sheet"), run.dataset_sha256[:12]),
        (_("Created by"), run.created_by),
        (_("Created at"), date_format(localtime(run.created_at), "SHORT_DATETIME_FORMAT")),
    ]


def parameters(run: Run) -> list[dict[str, Any]]:
    """Each hyperparameter with where its value comes from."""
    return [
        {
            "label": parameter_label(name),
            "name": name,
            "value": option_word(name, value) if isinstance(value, str) else parameter(value),
            "is_changed": value != HYPERPARAMETERS[name].default,
        }
        for name, value in run.hyperparameters.items()
    ]
