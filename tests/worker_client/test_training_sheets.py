"""Sheets that Excel opens, whatever is written into them."""

import openpyxl

from worker_client.training import sheets


def test_rows_beyond_what_a_sheet_of_excel_holds_go_on_in_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr(sheets, "MAX_ROWS", 3)
    book = sheets.SheetWriter()
    append = book.start_sheet("entities", ["row"])
    for row in range(5):
        append([row])
    book.save(tmp_path / "out.xlsx")
    written = openpyxl.load_workbook(tmp_path / "out.xlsx")
    found = {sheet.title: [row[0] for row in sheet.values] for sheet in written}
    assert found == {"entities": ["row", 0, 1], "entities 2": ["row", 2, 3], "entities 3": ["row", 4]}
