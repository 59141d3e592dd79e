"""What is told of a run before it is queued: examples per part, time, GPU memory, and what will go wrong."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.template.defaultfilters import filesizeformat
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from config.display import duration, percent
from datasets_app.models import Dataset, TaskType
from runs_app.choices import Split
from runs_app.forms import NewRunForm
from runs_app.models import BaseModel, Run
from runs_app.services.estimates import memory_needed, time_needed
from runs_app.services.waiting import Fleet, obstacle

FEW_TO_TEST = 5  # examples of a label in the test part, under which its figures jump with each example
LABELS_NAMED = 3
MUCH_CUT = 0.05  # share of the texts that are longer than what is read


@dataclass(frozen=True)
class Label:
    """A label, or a kind of entity, of a dataset. tested: about how many of its examples stand in the test part."""

    name: str
    count: int
    tested: int


def preview(form: NewRunForm, person: Any, now: datetime) -> dict[str, Any]:
    """The panel beside the form. A field that cannot be read is named; the rest waits until it can.

    It tells of labels and workers: empty for a person who may not look at either.
    """
    if not person.has_perms(("datasets_app.view_dataset", "workers_app.view_worker")):
        return {"is_hidden": True}
    if not form.is_valid():
        return {"problems": [f"{form.fields[name].label}: {told[0]}" for name, told in form.errors.items()]}
    run = planned(form)
    return {"parts": parts(run), "estimates": estimates(run), "warnings": warnings(run, Fleet.now(now))}


def planned(form: NewRunForm) -> Run:
    """The run that the valid form asks for, not saved."""
    inputs = {name: form.cleaned_data[name] for name in ("dataset", "base_model", "seed")}
    return Run(**inputs, task_type=inputs["dataset"].task_type, **form.hyperparameters())


def _known_split(run: Run) -> dict[str, Any]:
    """The split as the upload computed it, where this run will make the same; else empty."""
    known: dict[str, Any] = (run.dataset.report.get("quality") or {}).get("split") or {}
    is_given = known.get("basis") == "split"
    is_same = (known.get("train_share"), known.get("seed")) == (run.train_split, run.seed)
    return known if known.get("sizes") and (is_given or is_same) else {}


def parts(run: Run) -> dict[str, Any]:
    """{sizes: [(part, examples)], is_exact}: rows that stay together shift a computed size by a few."""
    known = _known_split(run)
    sizes = known.get("sizes") or _shared_out(run.dataset.num_rows, run.train_split)
    shown = [(part.label, number_format(sizes.get(part.value, 0), force_grouping=True)) for part in Split]
    return {"sizes": shown, "is_exact": bool(known)}


def _shared_out(rows: int, train_share: float) -> dict[str, int]:
    train = round(rows * train_share)
    validation = (rows - train + 1) // 2
    return {Split.TRAIN.value: train, Split.VALIDATION.value: validation, Split.TEST.value: rows - train - validation}


def estimates(run: Run) -> list[tuple[str, str]]:
    """Sentences by name; what has no basis is left out."""
    told = []
    time, memory = time_needed(run), memory_needed(run)
    if time is not None:
        sentence = _("about %(time)s for all epochs, less if it stops early") % {"time": duration(time.value)}
        told.append((_("Duration"), f"{sentence} ({_basis(time.runs)})"))
    if memory is not None:
        sentence = _("about %(size)s at most") % {"size": filesizeformat(memory.value)}
        told.append((_("GPU memory"), f"{sentence} ({_basis(memory.runs)})"))
    return told


def _basis(count: int) -> str:
    text = ngettext(
        "estimate from %(count)d finished run like this one",
        "estimate from %(count)d finished runs like this one",
        count,
    )
    return text % {"count": count}


def warnings(run: Run, fleet: Fleet) -> list[str]:
    """What would hurt later, in the order in which one can still do something about it."""
    model = fleet.catalogue.get(run.base_model)
    told = [_few_examples(run), _too_long(run, model), _cut(run), obstacle(run, fleet)]
    return [sentence for sentence in told if sentence]


def labels(run: Run) -> list[Label]:
    """Those of the dataset, with what the test part will have of each."""
    known = {item["name"]: item["test"] for item in _known_split(run).get("classes") or []}
    share = (1 - run.train_split) / 2
    return [Label(name, count, known.get(name, round(count * share))) for name, count in _counts(run.dataset)]


def _counts(dataset: Dataset) -> list[tuple[str, int]]:
    """Rows of each label; for tokens the entities of each kind, which begin with B-."""
    counts = [(item["name"], item["count"]) for item in dataset.labels]
    if dataset.task_type == TaskType.TEXT_CLASSIFICATION:
        return counts
    return [(name.removeprefix("B-"), count) for name, count in counts if name.startswith("B-")]


def _few_examples(run: Run) -> str:
    few = sorted((label for label in labels(run) if label.tested < FEW_TO_TEST), key=lambda label: label.count)
    if not few:
        return ""
    named = ", ".join(f"“{label.name}” ({number_format(label.count)})" for label in few[:LABELS_NAMED])
    if len(few) > LABELS_NAMED:
        named = _("%(names)s and %(count)d more") % {"names": named, "count": len(few) - LABELS_NAMED}
    text = _("Few examples of %(labels)s: under %(few)d of each to test with, so their figures will be unstable.")
    return text % {"labels": named, "few": FEW_TO_TEST}


def _too_long(run: Run, model: BaseModel | None) -> str:
    if model is None or run.max_length <= model.max_length:
        return ""
    text = _("This base model reads at most %(limit)d tokens: a maximum length of %(length)d is not possible with it.")
    return text % {"limit": model.max_length, "length": run.max_length}


def _cut(run: Run) -> str:
    """The share of texts of which the run will read only a part."""
    measured = run.dataset.token_lengths.get(run.base_model)
    told = measured or run.dataset.report.get("quality") or {}
    # Known at a few lengths: at the first that is not shorter the share is at least reached.
    steps = [step for step in told.get("beyond") or [] if step["max_length"] >= run.max_length]
    if run.long_text == "windows" or not steps or steps[0]["share"] < MUCH_CUT:
        return ""
    text = (
        _("%(share)s of the texts are longer than %(step)d tokens: the rest of them is not read.")
        if measured
        else _("Probably %(share)s of the texts are longer than %(step)d tokens: the rest of them is not read.")
    )
    advice = _("Choose a longer maximum length, or windows under “Advanced”.")
    return f"{text % {'share': percent(steps[0]['share']), 'step': steps[0]['max_length']}} {advice}"
