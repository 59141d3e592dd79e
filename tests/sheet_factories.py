"""Small .xlsx files for tests: by openpyxl, or part by part where the XML itself is the case."""

import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import openpyxl

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
DECLARATION = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'

TEXT_ROWS = [("o autor pediu prazo", "pedido"), ("a ré foi citada", "citacao"), ("o juiz decidiu", "decisao")]


def write_sheet(path: Path, rows: Iterable[Sequence[Any]], name: str = "dados") -> Path:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = name
    for row in rows:
        sheet.append(list(row))
    book.save(path)
    return path


def text_sheet(path: Path, rows: Iterable[Sequence[Any]] = TEXT_ROWS) -> Path:
    return write_sheet(path, [("text", "label"), *rows])


def token_sheet(path: Path, rows: Iterable[Sequence[Any]]) -> Path:
    return write_sheet(path, [("tokens", "tags"), *rows])


def inline(address: str, text: str) -> str:
    return f'<c r="{address}" t="inlineStr"><is><t xml:space="preserve">{escape(text)}</t></is></c>'


def sheet_xml(cells_by_row: Mapping[int, str]) -> str:
    rows = "".join(f'<row r="{row}">{cells}</row>' for row, cells in cells_by_row.items())
    return f'{DECLARATION}<worksheet xmlns="{MAIN}"><sheetData>{rows}</sheetData></worksheet>'


def text_xml(*extra: str) -> str:
    """A valid sheet of two classes, then `extra` cells in rows of their own from row 4 on."""
    rows = {
        1: inline("A1", "text") + inline("B1", "label"),
        2: inline("A2", "primeiro texto") + inline("B2", "sim"),
        3: inline("A3", "segundo texto") + inline("B3", "não"),
    }
    return sheet_xml(rows | dict(enumerate(extra, start=4)))


def parts(sheet: str | bytes, *, strings: str | None = None, styles: str | None = None) -> dict[str, str | bytes]:
    """The parts of a workbook with one sheet `dados`."""
    links = [f'<Relationship Id="rId1" Type="{RELATIONS}/worksheet" Target="worksheets/sheet1.xml"/>']
    made: dict[str, str | bytes] = {
        "[Content_Types].xml": f'{DECLARATION}<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>',
        "_rels/.rels": f'{DECLARATION}<Relationships xmlns="{PACKAGE}"><Relationship Id="rId1" '
        f'Type="{RELATIONS}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'{DECLARATION}<workbook xmlns="{MAIN}" xmlns:r="{RELATIONS}"><sheets>'
        '<sheet name="dados" sheetId="1" r:id="rId1"/></sheets></workbook>',
        "xl/worksheets/sheet1.xml": sheet,
    }
    if strings is not None:
        made["xl/sharedStrings.xml"] = f'{DECLARATION}<sst xmlns="{MAIN}">{strings}</sst>'
        links.append(f'<Relationship Id="rId2" Type="{RELATIONS}/sharedStrings" Target="sharedStrings.xml"/>')
    if styles is not None:
        made["xl/styles.xml"] = f'{DECLARATION}<styleSheet xmlns="{MAIN}">{styles}</styleSheet>'
        links.append(f'<Relationship Id="rId3" Type="{RELATIONS}/styles" Target="styles.xml"/>')
    made["xl/_rels/workbook.xml.rels"] = (
        f'{DECLARATION}<Relationships xmlns="{PACKAGE}">{"".join(links)}</Relationships>'
    )
    return made


def write_parts(path: Path, made: Mapping[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in made.items():
            archive.writestr(name, content)
    return path
