"""What the state machine wrote down, in plain words: events, attempts, phases, failures and what to do next."""

from collections import defaultdict
from typing import Any

from django.utils.formats import date_format, number_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from config.display import NOTHING, duration
from runs_app.choices import AttemptOutcome, FailureReason, ReleaseReason, Status
from runs_app.models import Attempt, JobEvent, Run
from runs_app.services.telemetry import Gap
from runs_app.services.transitions import SERVER

TROUBLES = {
    *FailureReason.values,
    "batch_halved",
    "checkpoint_damaged",
    "checkpoint_failed",
    "crashed",
    "eval_batch_halved",
    "gradient_checkpointing",
    "lease_expired",
    "spool_full",
}


def actor_name(actor: str) -> str:
    """ "ana" of "user:ana"."""
    return _("the server") if actor == SERVER else actor.partition(":")[2] or actor


def event_sentence(event: JobEvent) -> str:
    """One line of a run's history."""
    who = {"who": actor_name(event.actor), "attempt": event.attempt}
    if event.seq:  # before the others: a person resumes a run, and a worker resumes it too
        return _worker_event(event, who)
    if event.reason.startswith("priority "):
        return _("%(who)s set the priority to %(priority)s.") % {**who, "priority": event.reason.partition(" ")[2]}
    if event.reason in FailureReason.values:
        return _failure_event(event, who)
    sentences = {
        "created": _("%(who)s put it into the queue."),
        "claimed": _("%(who)s started attempt %(attempt)d."),
        "reattached": _("%(who)s was back in time and goes on with attempt %(attempt)d."),
        "completed": _("%(who)s finished the training."),
        "cancel_requested": _("%(who)s asked to cancel; the worker is told with its next report."),
        "cancel_too_late": _("The cancellation came too late: the training was already finished."),
        "cancelled": _("Cancelled by %(who)s."),
        "pause_requested": _("%(who)s asked to pause; the worker saves a checkpoint first."),
        "pause_withdrawn": _("%(who)s withdrew the pause."),
        "paused": _("Paused by %(who)s; the checkpoint is kept."),
        "resumed": _("%(who)s put it back into the queue."),
        "archived": _("%(who)s archived it."),
        "unarchived": _("%(who)s brought it back from the archive."),
        "shutdown": _("%(who)s was shut down and gave the run back to the queue."),
    }
    if event.reason in sentences:
        return sentences[event.reason] % who
    return _loss_event(event, who)


def event_mood(event: JobEvent) -> str:
    """How the timeline marks an event; the mark only repeats what the sentence says."""
    if event.to_status in (Status.COMPLETED, Status.FAILED) and event.from_status != event.to_status:
        return str(event.to_status)
    return "trouble" if event.reason in TROUBLES else ""


def _worker_event(event: JobEvent, who: dict[str, object]) -> str:
    """What a worker did by itself; one that a newer worker tells and this server does not know shows its name."""
    sentences = {
        "resumed": _("Attempt %(attempt)d goes on from the checkpoint of step %(step)s."),
        "batch_halved": _(
            "Out of memory: texts at a time from %(from)s down to %(to)s, in %(accumulation)s parts; the effective "
            "batch and the result stay the same."
        ),
        "eval_batch_halved": _("Out of memory while evaluating: texts at a time from %(from)s down to %(to)s."),
        "gradient_checkpointing": _("Out of memory with one text at a time: gradient checkpointing was switched on."),
        "checkpoint_damaged": _("Damaged checkpoints were set aside (steps %(steps)s); the one before them is used."),
        "checkpoint_failed": _(
            "The disk was full: the checkpoint of step %(step)s was not written; the one before stays."
        ),
        "spool_full": _("The worker's disk was full: %(left_out)s log lines were left out."),
    }
    facts = defaultdict(lambda: NOTHING, {name: _shown(value) for name, value in event.details.items()})
    return sentences[event.reason] % (facts | who) if event.reason in sentences else event.reason


def _shown(value: Any) -> str:
    return number_format(value) if isinstance(value, int | float) else str(value)


def gap_sentence(gap: Gap) -> str:
    """What of an attempt never arrived."""
    left_out = ngettext("the worker left out %(n)s log line", "the worker left out %(n)s log lines", gap.lines_left_out)
    sentences = [
        (gap.lines, ngettext("%(n)s log line is missing", "%(n)s log lines are missing", gap.lines)),
        (gap.lines_left_out, left_out),
        (gap.points, ngettext("%(n)s figure is missing", "%(n)s figures are missing", gap.points)),
        (gap.events, ngettext("%(n)s event is missing", "%(n)s events are missing", gap.events)),
    ]
    return "; ".join(sentence % {"n": number_format(count)} for count, sentence in sentences if count)


def _failure_event(event: JobEvent, who: dict[str, object]) -> str:
    facts = {**who, "reason": FailureReason(event.reason).label}
    if event.to_status == Status.PENDING:
        return _("Attempt %(attempt)d on %(who)s failed (%(reason)s); the run goes back to the queue.") % facts
    if event.to_status == Status.FAILED:
        return _("The run failed on %(who)s: %(reason)s.") % facts
    return _("Attempt %(attempt)d on %(who)s ended: %(reason)s.") % facts


def _loss_event(event: JobEvent, who: dict[str, object]) -> str:
    first = {
        "crashed": _("%(who)s crashed during attempt %(attempt)d."),
        "lease_expired": _("The worker of attempt %(attempt)d stopped answering."),
    }.get(event.reason, event.reason.replace("%", "%%")) % who
    then = {
        Status.PENDING: _("The run goes back to the queue and continues from its last checkpoint."),
        Status.FAILED: _("It was the last try: the run failed."),
        Status.CANCELLED: _("The run is cancelled, as had been asked."),
        Status.PAUSED: _("The run is paused, as had been asked."),
    }
    return f"{first} {then.get(Status(event.to_status), '')}".strip()


def attempt_line(attempt: Attempt) -> str:
    """ "attempt 2, 22/11/2026 08:20, 14 min, completed"."""
    parts = [
        _("attempt %(number)d") % {"number": attempt.number},
        date_format(localtime(attempt.started_at), "SHORT_DATETIME_FORMAT"),
    ]
    if attempt.ended_at is None:
        return ", ".join([*parts, _("in progress")])
    outcome = AttemptOutcome(attempt.outcome).label if attempt.outcome else ""
    parts += [duration((attempt.ended_at - attempt.started_at).total_seconds()), str(outcome).lower()]
    reason = dict([*FailureReason.choices, *ReleaseReason.choices]).get(attempt.reason)
    return ", ".join(parts) + (f" ({str(reason).lower()})" if reason else "")


def phase_word(phase: str) -> str:
    """What the worker is doing right now."""
    words = {
        "downloading": _("Downloading the sheet"),
        "preparing": _("Preparing"),
        "loading": _("Loading sheet and base model"),
        "tokenizing": _("Cutting texts into tokens"),
        "training": pgettext("phase", "Training"),
        "evaluating": _("Evaluating"),
        "saving": _("Saving the model"),
    }
    return words.get(phase, phase)


def failure_advice(run: Run) -> tuple[str, str]:
    """Why the run ended without a model, and what to do: two sentences."""
    sentences = {
        FailureReason.INVALID_DATA: (
            _("The sheet or a parameter cannot be used for this training."),
            _("Read the worker's message below, correct the sheet or the parameter, and start a new run."),
        ),
        FailureReason.OUT_OF_MEMORY: (
            _("The worker's memory did not suffice, even with one text of up to %(length)d tokens at a time.")
            % {"length": run.max_length},
            _("Start a new run with a shorter maximum length or a smaller base model."),
        ),
        FailureReason.BASE_MODEL_UNAVAILABLE: (
            _("No worker could load the base model “%(model)s”.") % {"model": run.base_model},
            _("Put the model on the worker's disk or give it access to download it, then reproduce this run."),
        ),
        FailureReason.DATASET_MISMATCH: (
            _("The sheet that reached the worker is not the one that was uploaded."),
            _("Reproduce this run. If it happens again, look for a proxy that changes downloads."),
        ),
        FailureReason.DISK_FULL: (
            _("There was no room left on the worker's disk."),
            _("Free some space on the worker (old models, checkpoints), then reproduce this run."),
        ),
        FailureReason.NAN_LOSS: (
            _("The loss stopped being a number: the training ran out of control."),
            _("Start a new run with a lower learning rate, or with precision fp32."),
        ),
        FailureReason.KILLED: (
            _("The operating system ended the training process, usually for lack of memory."),
            _("Close other programs on the worker, then reproduce this run."),
        ),
        FailureReason.WORKER_LOST: (
            _("The worker stopped answering and did not come back in time, on every try."),
            _("Look whether the worker's PC is switched on and connected, then reproduce this run."),
        ),
        FailureReason.INTERNAL_ERROR: (
            _("The training stopped with an error that nobody foresaw."),
            _("Send the technical details below to whoever maintains the system."),
        ),
    }
    unknown = sentences[FailureReason.INTERNAL_ERROR]
    return sentences.get(FailureReason(run.failure_reason), unknown) if run.failure_reason else unknown
