"""Runs side by side: which, what differs, which is best, and what may not be compared."""

import csv
import io
import re
from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from datasets_app.models import Dataset
from runs_app.admin.line_chart import chart_of
from runs_app.models import Run
from runs_app.services import queue, telemetry
from tests.admin_client import query_count, signed_in, text_of
from tests.factories import make_dataset, make_run, make_running_job, make_worker

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media")]

COMPARE = reverse("admin:runs_app_run_compare")
LIST = reverse("admin:runs_app_run_changelist")


def finished(dataset: Dataset, f1: Any = 0.5, loss: Any = 0.7, digest: Any = "d1", **values: Any) -> Run:
    """A completed run with figures of two epochs."""
    job = make_running_job(make_worker()[0], dataset=dataset, **values)
    points = [
        {"epoch": epoch, "step": int(epoch) * 10, "split": "validation", "values": {"f1": f1, "loss": loss}}
        for epoch in (1.0, 2.0)
    ]
    telemetry.record_metrics(job=job, points=points)
    result = queue.Result(model_path="m", metrics={"f1": f1, "loss": loss}, report={"split_digest": digest})
    queue.complete_job(job_id=job.pk, attempt=1, worker=job.worker, result=result, now=timezone.now())
    return Run.objects.get(pk=job.run_id)


def compared(*runs: Run | str, **query: str) -> Any:
    ids = ",".join(str(run.pk) if isinstance(run, Run) else run for run in runs)
    page = signed_in().get(COMPARE, {"ids": ids, **query})
    assert page.status_code == 200
    return page


def row_of(page: Any, label: str) -> list[str]:
    """The cells of one line, without tags."""
    found = re.search(rf'<th scope="row">{label}</th>(.*?)</tr>', page.content.decode(), re.DOTALL)
    assert found is not None, label
    return [re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<td.*?</td>", found[1], re.DOTALL)]


# Which runs


def test_the_action_of_the_list_leads_to_the_page_with_the_runs_in_its_address() -> None:
    dataset = make_dataset()
    chosen = [make_run(dataset), make_run(dataset)]
    data = {"action": "compare_selected", "_selected_action": [run.pk for run in chosen]}
    assert signed_in().post(LIST, data)["Location"] == f"{COMPARE}?ids={chosen[0].pk},{chosen[1].pk}"


def test_the_menu_leads_to_an_empty_page_that_says_how_to_choose() -> None:
    page = compared()
    assert "use a ação “Comparar”" in text_of(page)
    assert '<a href="/admin/runs_app/run/compare/" aria-current="page">Comparar</a>' in page.content.decode()
    assert 'aria-current="page">Treinamentos' not in page.content.decode()


def test_one_run_is_too_few() -> None:
    assert "Escolha pelo menos 2 treinamentos" in text_of(compared(make_run()))


def test_a_run_that_does_not_exist_is_named_and_the_others_are_compared() -> None:
    dataset = make_dataset()
    page = compared(make_run(dataset, name="Um"), "999", make_run(dataset, name="Dois"), "abc")
    assert "Não há treinamentos “999”, “abc”." in text_of(page)
    assert len(row_of(page, "Situação")) == 2


@pytest.mark.parametrize("ids", ["abc", "-1", "9" * 40, "\x00", "1;DROP", "<b>", ",,,", "0", "³"])
def test_words_that_name_no_run_are_said_so(ids: str) -> None:
    words = text_of(compared(ids))
    assert ("Não há treinamento" in words) == bool(ids.strip(","))


def test_a_run_that_is_named_twice_is_compared_once() -> None:
    run = make_run()
    assert "Escolha pelo menos 2" in text_of(compared(run, run, f"0{run.pk}"))


def test_more_than_ten_runs_have_no_columns() -> None:
    datasets = [make_dataset(), make_dataset()]
    page = compared(*(make_run(datasets[number % 2]) for number in range(11)))
    assert "servem para até 10 treinamentos" in text_of(page)
    assert "todos forem do mesmo conjunto de dados" in text_of(page)
    assert "<table" not in page.content.decode()


def test_more_than_fifty_runs_are_too_many() -> None:
    dataset = make_dataset()
    page = compared(*(make_run(dataset) for _number in range(51)))
    assert "No máximo 50 treinamentos" in text_of(page)
    assert "<table" not in page.content.decode()


def test_who_may_not_see_runs_compares_none() -> None:
    assert signed_in("workers_app.view_worker").get(COMPARE).status_code == 403
    assert "Comparar" not in text_of(signed_in("workers_app.view_worker").get("/admin/"))


# The table


def test_inputs_parameters_and_results_stand_side_by_side() -> None:
    dataset = make_dataset(name="Recursos")
    first = finished(dataset, f1=0.9, given={"learning_rate": 3e-5})
    Run.objects.filter(pk=first.pk).update(
        started_at=timezone.now() - timedelta(minutes=12), finished_at=timezone.now()
    )
    page = compared(first, finished(dataset, f1=0.8))
    assert row_of(page, "Taxa de aprendizado") == ["3e-5", "5e-5"]
    assert row_of(page, "Conjunto de dados") == ["Recursos", "Recursos"]
    assert row_of(page, "Predefinição") == ["Personalizada", "Recomendada"]
    assert row_of(page, "Duração")[0] == "12 min"


def test_the_best_value_of_each_figure_is_marked() -> None:
    dataset = make_dataset()
    page = compared(finished(dataset, f1=0.9, loss=0.5), finished(dataset, f1=0.8, loss=0.4))
    assert row_of(page, "F1") == ["0,9000 ★(melhor)", "0,8000"]
    assert row_of(page, "Perda") == ["0,5000", "0,4000 ★(melhor)"]


def test_equal_values_have_no_best_one() -> None:
    dataset = make_dataset()
    assert "★" not in text_of(compared(finished(dataset), finished(dataset)))


def test_only_what_differs_is_shown_on_request() -> None:
    dataset = make_dataset()
    runs = finished(dataset, f1=0.9, given={"epochs": 4}), finished(dataset, f1=0.8)
    page = compared(*runs, diff="1")
    assert row_of(page, "Épocas") == ["4", "10"]
    assert "Tamanho do lote" not in text_of(page)
    assert "Tamanho do lote" in text_of(compared(*runs))


def test_runs_that_differ_in_nothing_are_said_to() -> None:
    dataset = make_dataset()
    waiting = make_run(dataset), make_run(dataset)
    assert "não diferem em nada" in text_of(compared(*waiting, diff="1"))


def test_different_datasets_are_not_comparable() -> None:
    page = compared(finished(make_dataset(), f1=0.9), finished(make_dataset(), f1=0.8))
    assert "Conjuntos de dados diferentes" in text_of(page)
    assert "★" not in text_of(page)


def test_a_different_split_is_told() -> None:
    dataset = make_dataset()
    notice = "foram testados com exemplos diferentes"
    assert notice in text_of(compared(finished(dataset), finished(dataset, digest="d2")))
    assert notice not in text_of(compared(finished(dataset), finished(dataset, seed=7)))
    done = finished(dataset)
    assert notice in text_of(compared(make_run(dataset), make_run(dataset, seed=7)))
    assert notice not in text_of(compared(make_run(dataset), done))


@pytest.mark.parametrize("told", [None, True, "alto", [1], {"a": 1}, 1e308, -1e308, 10**300])
def test_what_no_worker_of_ours_would_tell_opens_the_page_all_the_same(told: Any) -> None:
    dataset = make_dataset()
    runs = [
        finished(dataset, f1=value, loss=value, digest=told, given={"epochs": 3 + n})
        for n, value in enumerate([told] * 5 + [0.1])
    ]
    compared(*runs)
    compared(*runs, format="csv")


def test_the_queries_do_not_grow_with_the_runs() -> None:
    client, dataset = signed_in(), make_dataset()
    runs = [finished(dataset, f1=number / 10) for number in range(6)]
    few = query_count(client, f"{COMPARE}?ids={runs[0].pk},{runs[1].pk}")
    assert query_count(client, f"{COMPARE}?ids={','.join(str(run.pk) for run in runs)}") == few
    assert few <= 15


# As a file


def table_in(page: Any) -> list[list[str]]:
    return list(csv.reader(io.StringIO(page.content.decode("utf-8-sig")), delimiter=";"))


def test_the_table_is_exported_with_full_values() -> None:
    dataset = make_dataset()
    runs = finished(dataset, f1=0.912345678, name="Um"), finished(dataset, f1=0.8, name="Dois")
    page = compared(*runs, format="csv")
    assert page["Content-Type"].startswith("text/csv")
    assert "attachment" in page["Content-Disposition"]
    table = table_in(page)
    assert table[0] == ["", f"#{runs[0].pk} Um", f"#{runs[1].pk} Dois"]
    assert ["F1", "0,912345678", "0,8"] in table
    assert ["Situação", "Concluído", "Concluído"] in table


def test_the_file_is_as_the_excel_of_an_english_reader_takes_it() -> None:
    dataset = make_dataset()
    ids = f"{finished(dataset, f1=0.912345678).pk},{finished(dataset, f1=0.8).pk}"
    page = signed_in().get(COMPARE, {"ids": ids, "format": "csv"}, headers={"Accept-Language": "en"})
    assert "\r\nF1,0.912345678,0.8\r\n" in page.content.decode()


def test_the_file_may_hold_only_what_differs() -> None:
    dataset = make_dataset()
    table = table_in(compared(finished(dataset, f1=0.9), finished(dataset, f1=0.8), format="csv", diff="1"))
    assert [row[0] for row in table[1:] if row[1] == row[2]] == []


def test_a_name_that_a_spreadsheet_would_take_for_a_formula_is_marked_as_text() -> None:
    runs = [make_run(make_dataset(name=name)) for name in ("=1+1", "@soma")]
    assert ["Conjunto de dados", "'=1+1", "'@soma"] in table_in(compared(*runs, format="csv"))


# The drawings


def test_each_run_has_a_line_that_tells_its_figures_and_a_table_beside_it() -> None:
    dataset = make_dataset()
    html = compared(finished(dataset, f1=0.9, name="Um"), finished(dataset, f1=0.8, name="Dois")).content.decode()
    lines = re.findall(r'<g class="series series-(\d)" role="img" tabindex="0" aria-label="([^"]+)"', html)
    assert [number for number, _told in lines] == ["0", "1", "0", "1"]  # loss, then F1
    assert re.fullmatch(r"#\d+ Um: 1: 0,9000; 2: 0,9000", lines[2][1])
    assert html.count("Ver os números em tabela") == 2


@pytest.mark.parametrize(
    ("value", "labels"),
    [(0.375, ["0,37", "0,372", "0,374", "0,376", "0,378", "0,38"]), (0.0, ["0", "0,2", "0,4", "0,6"])],
)
def test_a_flat_line_has_an_axis_that_people_can_read(value: float, labels: list[str]) -> None:
    chart = chart_of("F1", ["#1"], [[(1.0, value), (2.0, value)]])
    assert chart is not None
    assert [tick.text for tick in chart.y_ticks] == labels


def test_lines_are_told_apart_without_colour() -> None:
    dataset = make_dataset()
    html = compared(*(finished(dataset, f1=number / 10) for number in range(10))).content.decode()
    chart = html[html.index('class="drawing"') : html.index("</svg>", html.index('class="drawing"'))]
    looks = {(number, re.search(r' d="(M-?[^"]+)"', shape)[1]) for number, shape in _groups(chart)}  # type: ignore[index]
    assert len(looks) == 10


def _groups(chart: str) -> list[tuple[str, str]]:
    return re.findall(r'series-(\d)"(.*?)</g>', chart, re.DOTALL)


def test_coordinates_have_no_decimal_comma() -> None:
    dataset = make_dataset()
    html = compared(
        *(finished(dataset, f1=number / 7, given={"epochs": number + 1}) for number in range(5))
    ).content.decode()
    for points in re.findall(r' points="([^"]+)"', html):
        assert re.fullmatch(r"(-?\d+\.\d,-?\d+\.\d ?)+", points)


def test_five_runs_of_one_dataset_are_drawn_as_lines_that_lead_to_them() -> None:
    dataset = make_dataset()
    runs = [finished(dataset, f1=number / 10, given={"learning_rate": (number + 1) * 1e-5}) for number in range(5)]
    html = compared(*runs).content.decode()
    drawing = html[html.index('class="parallel"') :]
    assert len(re.findall(r'<a href="/admin/runs_app/run/\d+/change/"', drawing)) == 5
    assert re.search(rf'aria-label="#{runs[0].pk} [^"]*: Taxa de aprendizado 1e-5; F1 0,0000"', drawing)


def test_runs_without_f1_are_counted_out_of_the_drawing() -> None:
    dataset = make_dataset()
    runs = [finished(dataset, f1=number / 10, given={"epochs": number + 1}) for number in range(12)]
    assert "1 treinamento sem F1 ficou de fora." in text_of(compared(*runs, make_run(dataset)))


def test_four_runs_or_several_datasets_have_no_such_drawing() -> None:
    dataset = make_dataset()
    runs = [finished(dataset, f1=number / 10, given={"epochs": number + 1}) for number in range(4)]
    assert 'class="parallel"' not in compared(*runs).content.decode()
    other = finished(make_dataset(), f1=0.9)
    assert 'class="parallel"' not in compared(*runs, other).content.decode()
