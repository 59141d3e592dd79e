"""Which GPUs a worker tells of: those that it trains on."""

from dataclasses import replace

import pytest

from worker_client import hardware
from worker_client.api import ApiClient
from worker_client.hardware import Gpu, gpus_for
from worker_client.lease import Lease

SMALL, LARGE = Gpu("GTX 1650", 4_000, 3_000, 90.0), Gpu("RTX 4090", 24_000, 1_000, 10.0)


@pytest.fixture
def two_gpus(monkeypatch):
    """A small card beside a large one."""
    monkeypatch.setattr(hardware, "gpus", lambda: [SMALL, LARGE])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)


@pytest.mark.parametrize(
    ("device", "told"),
    [
        ("cpu", []),
        ("cuda:0", [SMALL]),
        ("cuda:1", [LARGE]),
        ("cuda:2", []),
        ("cuda", [SMALL, LARGE]),
        ("auto", [SMALL, LARGE]),
    ],
)
def test_a_worker_tells_of_the_gpus_that_it_may_train_on(two_gpus, settings, device, told):
    assert gpus_for(replace(settings, device=device)) == told


def test_processes_that_share_a_run_share_all_gpus(two_gpus, settings):
    assert gpus_for(replace(settings, device="cuda:0", processes=2)) == [SMALL, LARGE]


@pytest.mark.parametrize(("name", "value"), [("CUDA_VISIBLE_DEVICES", "1"), ("CUDA_DEVICE_ORDER", "FASTEST_FIRST")])
def test_where_the_owner_numbers_the_gpus_anew_all_are_told(two_gpus, settings, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert gpus_for(replace(settings, device="cuda:0")) == [SMALL, LARGE]


def test_a_worker_for_the_processor_is_registered_without_the_gpu_that_it_leaves_alone(two_gpus, server, work):
    work(device="cpu")
    assert server.calls("/workers/register")[0].body["gpus"] == []


@pytest.mark.parametrize(
    ("gpus", "load"),
    [
        ([], (None, None)),
        ([LARGE], (10.0, 1_000)),
        ([SMALL, LARGE], (90.0, 4_000)),
    ],
)
def test_a_heartbeat_tells_the_load_of_the_gpus_of_its_run(server, settings, gpus, load):
    server.add_job()
    api = ApiClient(settings.api_url, settings.token)
    Lease(api, job_id=1, attempt=1, heartbeat_seconds=30, gpus=lambda: gpus).beat()
    body = server.calls("/workers/heartbeat")[0].body
    assert (body.get("gpu_utilization"), body.get("gpu_memory_bytes")) == load


@pytest.mark.parametrize(("device", "is_told"), [("cpu", False), ("cuda:1", True)])
def test_a_run_tells_no_load_of_gpus_that_are_not_its_own(two_gpus, server, work, device, is_told):
    server.add_job()
    work(device=device)
    told = [call.body.get("gpu_utilization") for call in server.calls("/workers/heartbeat") if call.body.get("job")]
    assert set(told) == {LARGE.utilization if is_told else None}
