"""The curves of a run's page: what the charts are given, and the sentence beside them."""

import math
from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from runs_app.admin.curves import MOST_POINTS, TABLE_ROWS, thinned
from runs_app.models import EpochMetric, GpuSample, Job, Run
from runs_app.services import telemetry
from tests.admin_client import query_count, signed_in, text_of
from tests.factories import make_run, make_running_job

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media")]


def curves_of(run: Run) -> str:
    return reverse("admin:runs_app_run_curves", args=[run.pk])


def page_of(run: Run) -> str:
    return reverse("admin:runs_app_run_change", args=[run.pk])


def measured(job: Job, *epochs: dict[str, Any]) -> None:
    """One point of each part per epoch; `train` is a loss, the rest are the validation's figures."""
    for number, values in enumerate(epochs, start=1):
        at = {"epoch": float(number), "step": number * 10}
        train = {**at, "split": "train", "values": {"loss": values.pop("train", None)}}
        telemetry.record_metrics(job=job, points=[train, {**at, "split": "validation", "values": values}])


# Thinning


def test_what_a_chart_can_show_is_left_as_it_is() -> None:
    points = [(float(n), 1.0) for n in range(MOST_POINTS)]
    assert thinned(points) == points


def test_a_long_series_keeps_its_ends_and_its_extremes() -> None:
    points: list[tuple[float, float | None]] = [(float(n), math.sin(n / 50)) for n in range(30_001)]
    points[17_003] = (17_003.0, 9.0)
    points[23_456] = (23_456.0, -9.0)
    points[20_000] = (20_000.0, None)
    kept = thinned(points)
    assert len(kept) <= MOST_POINTS
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert {points[17_003], points[23_456], points[20_000]} <= set(kept)
    assert kept == sorted(kept, key=lambda point: point[0])
    assert set(kept) <= set(points)


def test_a_long_series_without_a_number_is_one_long_gap() -> None:
    kept = thinned([(float(n), None) for n in range(5000)])
    assert len(kept) <= MOST_POINTS
    assert {y for _x, y in kept} == {None}


# The charts


def test_they_get_losses_and_the_metric_that_judges() -> None:
    job = make_running_job(given={"metric_for_best": "accuracy"})
    measured(job, {"train": 0.9, "loss": 0.8, "accuracy": 0.5, "f1": 0.1}, {"train": None, "loss": 0.6})
    found = signed_in().get(curves_of(job.run)).json()
    assert found["train"] == [[1.0, 2.0], [0.9, None]]
    assert found["validation"] == [[1.0, 2.0], [0.8, 0.6]]
    assert found["judged"] == [[1.0, 2.0], [0.5, None]]
    assert found["gpu_use"] == found["gpu_memory"] == [[], []]


def test_where_the_loss_judges_f1_is_shown_beside_it() -> None:
    job = make_running_job(given={"metric_for_best": "loss"})
    measured(job, {"train": 0.9, "loss": 0.8, "f1": 0.1})
    assert signed_in().get(curves_of(job.run)).json()["judged"] == [[1.0], [0.1]]


def test_the_figures_of_the_test_part_are_no_curve() -> None:
    job = make_running_job()
    point = {"epoch": 1.0, "step": 10, "split": "test", "values": {"loss": 0.5}}
    telemetry.record_metrics(job=job, points=[point])
    assert signed_in().get(curves_of(job.run)).json()["validation"] == [[], []]


def test_the_use_of_the_gpu_is_a_curve_over_time() -> None:
    job, now = make_running_job(), timezone.now()
    use = {"gpu_utilization": 80.0, "gpu_memory_bytes": 3 * 2**30}
    telemetry.record_gpu_use(job=job, now=now, **use)
    telemetry.record_gpu_use(job=job, now=now + timedelta(seconds=30), gpu_utilization=40.0, gpu_memory_bytes=None)
    found = signed_in().get(curves_of(job.run)).json()
    assert found["gpu_use"] == [[now.timestamp(), now.timestamp() + 30], [80.0, 40.0]]
    assert found["gpu_memory"][1] == [3.0, None]
    assert "GPU em uso 60 % do tempo em média, 80 % no máximo." in text_of(signed_in().get(page_of(job.run)))


def test_the_use_of_the_gpu_is_a_table_too() -> None:
    job, now = make_running_job(), timezone.now()
    GpuSample.objects.bulk_create(
        GpuSample(job=job, at=now + timedelta(minutes=n), utilization=float(n), memory_bytes=(1 + n) * 2**30)
        for n in range(24)
    )
    rows = signed_in().get(curves_of(job.run)).json()["gpu_table"]
    assert len(rows) == TABLE_ROWS
    assert rows[0][1:] == ["0 %", "2,0\xa0GB"]
    assert rows[-1][1:] == ["22 %", "24,0\xa0GB"]


@pytest.mark.parametrize(
    ("phase", "uses", "hinted"),
    [
        ("training", [12.0] * 6, True),
        ("training", [12.0] * 5 + [80.0], False),
        ("training", [12.0] * 4, False),
        ("tokenizing", [0.0] * 6, False),
    ],
)
def test_a_gpu_that_idles_while_a_run_trains_is_told(phase: str, uses: list[float], hinted: bool) -> None:
    job, now = make_running_job(), timezone.now()
    telemetry.record_progress(job=job, progress={"phase": phase, "step": 5, "total_steps": 50}, now=now)
    GpuSample.objects.bulk_create(
        GpuSample(job=job, at=now - timedelta(seconds=30 * n), utilization=use) for n, use in enumerate(uses)
    )
    words = text_of(signed_in().get(page_of(job.run)))
    assert ("A GPU foi usada no máximo 12 % nos últimos 5 minutos." in words) == hinted


def test_the_tab_says_how_far_a_run_is() -> None:
    job = make_running_job(name="Recursos")
    telemetry.record_progress(job=job, progress={"step": 21, "total_steps": 50}, now=timezone.now())
    assert "<title>42 % · Recursos</title>" in signed_in().get(page_of(job.run)).content.decode()
    assert "<title>Na fila · Recursos</title>" in signed_in().get(page_of(make_run(name="Recursos"))).content.decode()


def test_a_long_run_is_thinned_and_takes_as_many_queries() -> None:
    job, client = make_running_job(), signed_in()
    few = query_count(client, curves_of(job.run))
    EpochMetric.objects.bulk_create(
        EpochMetric(run=job.run, attempt=1, epoch=n / 10, step=n, split="train", values={"loss": 1 / n})
        for n in range(1, 3001)
    )
    GpuSample.objects.bulk_create(GpuSample(job=job, at=timezone.now(), utilization=5.0) for _n in range(10))
    assert query_count(client, curves_of(job.run)) == few <= 6
    xs, ys = client.get(curves_of(job.run)).json()["train"]
    assert len(xs) == len(ys) <= MOST_POINTS
    assert (xs[0], ys[0], xs[-1]) == (0.1, 1.0, 300.0)


def test_the_page_says_in_a_sentence_what_they_show() -> None:
    job = make_running_job(given={"epochs": 4})
    measured(job, {"train": 0.9, "loss": 0.5, "f1": 0.8}, {"train": None, "loss": 0.6, "f1": 0.7})
    page = signed_in().get(page_of(job.run))
    sentence = (
        "Época 2 de 4: perda de treino –, perda de validação 0,6000, F1 0,7000. A melhor época por F1 é a 1 (★). "
        "Algumas perdas não eram números: ali a curva tem uma lacuna."
    )
    assert sentence in text_of(page)
    assert 'data-best-epoch="1"' in page.content.decode()


def test_before_the_first_figure_there_is_no_sentence_and_no_table() -> None:
    page = signed_in().get(page_of(make_running_job().run))
    assert "Os primeiros números chegam ao fim da primeira época." in text_of(page)
    assert 'data-best-epoch=""' in page.content.decode()


def test_they_are_for_those_who_may_see_the_run() -> None:
    run = make_run()
    assert signed_in("runs_app.view_run").get(curves_of(run)).status_code == 200
    assert signed_in("datasets_app.view_dataset").get(curves_of(run)).status_code == 403
    assert signed_in().get(reverse("admin:runs_app_run_curves", args=[10**9])).status_code == 404
