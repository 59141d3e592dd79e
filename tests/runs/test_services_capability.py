"""Which runs a worker can train at all, and what the queue says of the others."""

from typing import Any

import pytest
from django.utils import timezone

from runs_app.models import BaseModel, Job
from runs_app.services.capability import memory_needed
from runs_app.services.waiting import Fleet, waiting_reason
from tests.factories import claim, make_job, make_worker
from workers_app.models import Worker

pytestmark = pytest.mark.django_db

GIB = 2**30
LARGE = "neuralmind/bert-large-portuguese-cased"


@pytest.fixture
def large(db: None) -> BaseModel:
    """A base model of 335 million parameters: weights, gradients and moments are 5.4 GB."""
    values = {"parameter_count": 335_000_000, "max_length": 512}
    return BaseModel.objects.update_or_create(model_id=LARGE, defaults=values)[0]


def with_gpus(*gibibytes: float, **values: Any) -> Worker:
    gpus = [{"name": "GPU", "memory_bytes": int(size * GIB)} for size in gibibytes]
    return make_worker(hardware={"gpus": gpus}, last_seen_at=timezone.now(), **values)[0]


def reason(job: Job) -> str:
    return str(waiting_reason(job, Fleet.now(timezone.now())))


def test_memory_grows_with_the_length_and_holds_four_copies_of_the_weights(large: BaseModel) -> None:
    short, long = memory_needed(large, 128), memory_needed(large, 512)
    assert 16 * 335_000_000 < short < long < 8 * GIB


def test_a_model_of_unknown_size_fits_everywhere() -> None:
    assert memory_needed(BaseModel(model_id="own/model"), 512) == 0


def test_a_worker_with_too_small_a_gpu_is_not_offered_the_run(large: BaseModel) -> None:
    job, small = make_job(base_model=LARGE), with_gpus(4)
    assert claim(small) is None
    taken = claim(with_gpus(12))
    assert taken is not None
    assert taken.pk == job.pk


def test_the_largest_of_several_gpus_counts(large: BaseModel) -> None:
    make_job(base_model=LARGE)
    assert claim(with_gpus(4, 12)) is not None


@pytest.mark.parametrize(("spare_bytes", "is_offered"), [(0, True), (-1, False)])
def test_a_gpu_is_large_enough_to_the_byte(large: BaseModel, spare_bytes: int, is_offered: bool) -> None:
    job = make_job(base_model=LARGE)
    gpus = [{"name": "GPU", "memory_bytes": memory_needed(large, job.run.max_length) + spare_bytes}]
    assert (claim(make_worker(hardware={"gpus": gpus})[0]) is not None) is is_offered


@pytest.mark.parametrize("memory_bytes", [1, 24 * GIB, 2**63 - 1])
def test_a_model_of_absurd_size_keeps_no_worker_from_what_waits_behind_it(large: BaseModel, memory_bytes: int) -> None:
    BaseModel.objects.filter(pk=large.pk).update(parameter_count=2**63 - 1)
    make_job(base_model=LARGE)
    behind = make_job()
    taken = claim(make_worker(hardware={"gpus": [{"name": "GPU", "memory_bytes": memory_bytes}]})[0])
    assert taken is not None
    assert taken.pk == behind.pk


def test_a_model_of_unknown_size_is_offered_to_every_gpu(large: BaseModel) -> None:
    BaseModel.objects.filter(pk=large.pk).update(parameter_count=None)
    make_job(base_model=LARGE)
    assert claim(with_gpus(1)) is not None


def test_a_worker_without_a_gpu_trains_what_it_is_given(large: BaseModel) -> None:
    make_job(base_model=LARGE)
    assert claim(with_gpus()) is not None


def test_a_small_gpu_takes_the_small_model_behind_the_large_one(large: BaseModel) -> None:
    make_job(base_model=LARGE)
    behind = make_job()
    taken = claim(with_gpus(4))
    assert taken is not None
    assert taken.pk == behind.pk


def test_a_worker_that_downloads_nothing_gets_only_what_it_has(large: BaseModel) -> None:
    make_job(base_model=LARGE)
    assert claim(make_worker(may_download=False)[0]) is None
    assert claim(make_worker(may_download=False, base_models=[LARGE])[0]) is not None


def test_the_built_in_model_is_everywhere() -> None:
    make_job()
    assert claim(make_worker(may_download=False)[0]) is not None


def test_the_queue_says_how_much_memory_no_connected_worker_has(large: BaseModel) -> None:
    job = make_job(base_model=LARGE)
    with_gpus(4)
    assert "GB" in reason(job)
    with_gpus(24)
    assert "GB" not in reason(job)


def test_the_queue_names_the_base_model_that_nobody_may_download(large: BaseModel) -> None:
    job = make_job(base_model=LARGE)
    make_worker(may_download=False, last_seen_at=timezone.now())
    assert LARGE in reason(job)
