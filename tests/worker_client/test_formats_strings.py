"""A table of shared strings too large for memory reads as one that is not."""

import gc
from pathlib import Path

import pytest

import worker_client.formats.strings
from tests.sheet_factories import parts, sheet_xml, write_parts
from tests.worker_client.test_formats_differential import cells_of
from worker_client.formats import SheetRefused

TEXTS = [f"texto {n} ação – € {'x' * (n % 50)}" for n in range(500)]


def table(tmp_path: Path, order: list[int]) -> Path:
    rows = {row: f'<c r="A{row}" t="s"><v>{place}</v></c>' for row, place in enumerate(order, start=1)}
    strings = "".join(f"<si><t>{text}</t></si>" for text in TEXTS)
    return write_parts(tmp_path / "a.xlsx", parts(sheet_xml(rows), strings=strings))


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_client.formats.strings, "MEMORY_BYTES", 5_000)
    # So that the table comes in many pieces, of which only the first stay in memory.
    monkeypatch.setattr("worker_client.formats.container.CHUNK", 700)


ORDERS = [list(range(500)), list(range(499, -1, -1)), [n * 191 % 500 for n in range(500)], [0, 499, 0, 499]]


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("order", ORDERS, ids=["in order", "backwards", "at random", "ends"])
def test_spilled_strings_read_back_in_any_order(tmp_path: Path, order: list[int]) -> None:
    assert [cells[1] for _, cells in cells_of(table(tmp_path, order))] == [TEXTS[place] for place in order]


@pytest.mark.usefixtures("little_memory")
def test_a_place_beyond_a_spilled_table_is_damage(tmp_path: Path) -> None:
    with pytest.raises(SheetRefused) as caught:
        cells_of(table(tmp_path, [0, 500]))
    assert caught.value.code == "corrupt"


@pytest.mark.usefixtures("little_memory")
def test_nothing_is_left_in_the_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    cells_of(table(tmp_path, ORDERS[0]))
    gc.collect()
    assert list(folder.iterdir()) == []
