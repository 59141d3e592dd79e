"""manage.py create_run, add_base_model, requeue_expired_jobs."""

from importlib import import_module
from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from time_machine import Traveller

from runs_app.models import BaseModel, Run
from tests.factories import make_dataset, make_job, make_running_job

pytestmark = pytest.mark.django_db

TINY = ("--base-model", "builtin/tiny-bert")


def run(command: str, *arguments: Any) -> str:
    """stdout of a command that succeeds."""
    out = StringIO()
    call_command(command, *map(str, arguments), stdout=out, stderr=StringIO())
    return out.getvalue()


def test_a_run_is_queued_and_its_id_printed_alone() -> None:
    flags = ["--set", "epochs=3", "--set", "learning_rate=3e-5", "--set", "class_weights=balanced", "--seed", "7"]
    flags += ["--set", "gradient_checkpointing=true", "--set", "label_smoothing=0,1", "--set", "layer_lr_decay=0.9"]
    out = run("create_run", make_dataset().pk, *TINY, *flags)
    made = Run.objects.get()
    assert out == f"{made.pk}\n"
    assert (made.epochs, made.learning_rate, made.class_weights, made.seed) == (3, 3e-5, "balanced", 7)
    assert (made.gradient_checkpointing, made.label_smoothing, made.layer_lr_decay) == (True, 0.1, 0.9)
    assert made.job.status == "pending"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--set", "epochs=0"], "epochs"),
        (["--set", "epochs=many"], "epochs"),
        (["--set", "epochs=1e999"], "epochs"),
        (["--set", "learning_rate=nan"], "learning_rate"),
        (["--set", "dropout=0.1"], "dropout"),
        (["--set", "epochs"], "NAME=VALUE"),
        (["--set", "=3"], "Known|Conhecid"),
        (["--seed", "-1"], "seed"),
        (["--seed", str(2**31)], "seed"),
        (["--priority", "99999"], "priority"),
        (["--priority", "-99999"], "priority"),
        (["--name", "x" * 201], "name"),
    ],
)
def test_a_wrong_flag_is_named_and_nothing_is_queued(flags: list[str], said: str) -> None:
    with pytest.raises(CommandError, match=said) as failure:
        run("create_run", make_dataset().pk, *TINY, *flags)
    assert failure.value.returncode == 1
    assert not Run.objects.exists()


@pytest.mark.parametrize("dataset", [999_999, 2**70])
def test_a_dataset_that_does_not_exist_is_named(dataset: int) -> None:
    with pytest.raises(CommandError, match=str(dataset)):
        run("create_run", dataset, *TINY)


def test_a_base_model_outside_the_catalogue_is_named() -> None:
    with pytest.raises(CommandError, match="nobody/nothing"):
        run("create_run", make_dataset().pk, "--base-model", "nobody/nothing")


def test_a_base_model_is_added_with_its_revision() -> None:
    assert run("add_base_model", "org/name", "--revision", "abc") == "org/name\n"
    entry = BaseModel.objects.get(model_id="org/name")
    assert (entry.revision, entry.enabled) == ("abc", True)


def test_adding_a_base_model_again_enables_it_and_keeps_its_revision() -> None:
    run("add_base_model", "org/name", "--revision", "abc")
    BaseModel.objects.update(enabled=False)
    run("add_base_model", "org/name")
    entry = BaseModel.objects.get(model_id="org/name")
    assert (entry.enabled, entry.revision) == (True, "abc")


@pytest.mark.parametrize("name", ["", "../evil", "a/b/c", "/abs", "-x", "a b", "https://x", "x" * 201])
def test_an_id_that_is_none_is_refused(name: str) -> None:
    count = BaseModel.objects.count()
    with pytest.raises(CommandError):
        run("add_base_model", "--", name) if name.startswith("-") else run("add_base_model", name)
    assert BaseModel.objects.count() == count


def test_every_model_of_the_catalogue_can_be_enabled_again() -> None:
    import_module("runs_app.migrations.0002_base_model_catalogue").fill(apps, None)
    BaseModel.objects.update(enabled=False)
    for model_id in BaseModel.objects.values_list("model_id", flat=True):
        run("add_base_model", model_id)
    assert not BaseModel.objects.filter(enabled=False).exists()


@pytest.mark.parametrize("revision", ["a b", "../main", "x/y", "x" * 65])
def test_a_revision_that_is_none_is_refused(revision: str) -> None:
    with pytest.raises(CommandError, match="revision: "):
        run("add_base_model", "org/name", "--revision", revision)
    assert not BaseModel.objects.filter(model_id="org/name").exists()


def test_requeueing_prints_how_many_leases_ran_out(clock: Traveller) -> None:
    make_running_job()
    make_job()
    assert run("requeue_expired_jobs") == "0\n"
    clock.shift(601)
    assert run("requeue_expired_jobs") == "1\n"
    assert run("requeue_expired_jobs") == "0\n"
