"""Pages of long lists: keys first, then the rows."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from config.pagination import KeysFirst
from runs_app.models import Run
from tests.factories import make_dataset, make_run

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media")]


@pytest.fixture
def names() -> list[str]:
    """Of runs whose order by name is not that of their keys."""
    names, dataset = ["b", "d", "a", "e", "c"], make_dataset()
    for name in names:
        make_run(dataset, name=name)
    return names


def test_the_pages_hold_all_rows_in_their_order(names: list[str]) -> None:
    pages = KeysFirst(Run.objects.select_related("dataset").order_by("-name"), 2)
    assert [[run.name for run in page] for page in pages] == [["e", "d"], ["c", "b"], ["a"]]


def test_rows_are_read_with_all_that_was_asked_for_and_skipped_without_it(names: list[str]) -> None:
    with CaptureQueriesContext(connection) as queries:
        (run,) = KeysFirst(Run.objects.select_related("dataset").order_by("name"), 2).page(3)
        assert run.dataset.name
    _count, keys, rows = [query["sql"] for query in queries]
    assert "OFFSET 4" in keys
    assert "bert_datasets" not in keys
    assert "bert_datasets" in rows
    assert "OFFSET" not in rows


def test_a_plain_list_is_cut_as_ever() -> None:
    assert list(KeysFirst([1, 2, 3], 2).page(2)) == [3]
