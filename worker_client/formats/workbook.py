"""The workbook part: which sheets there are, how its styles show numbers, where its strings are."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from worker_client.formats.container import Package, corrupt
from worker_client.formats.faces import Face, faces_of
from worker_client.formats.markup import walk


@dataclass(frozen=True)
class SheetEntry:
    """One worksheet with cells (chart sheets are left out). part: its name in the zip."""

    name: str
    part: str
    visible: bool


@dataclass(frozen=True)
class Workbook:
    """sheets in the order of the tabs; faces: one per cell style; strings: the shared strings' part, if any."""

    sheets: list[SheetEntry]
    faces: list[Face]
    strings: str | None
    date1904: bool


@dataclass(frozen=True)
class _Link:
    kind: str
    target: str


def read_workbook(package: Package) -> Workbook:
    """Raises SheetRefused: corrupt, unsafe_xml, too_large."""
    main = next(
        (link.target for link in _links(package, "").values() if link.kind == "officeDocument"), "xl/workbook.xml"
    )
    if not package.has(main):
        raise corrupt("the workbook part is missing")
    links = _links(package, main)
    sheets: list[SheetEntry] = []
    date1904 = False

    def on_start(name: str, attributes: dict[str, str]) -> None:
        nonlocal date1904
        if name == "workbookPr":
            date1904 = attributes.get("date1904", "0") in ("1", "true", "on")
        elif name == "sheet":
            link = links.get(attributes.get("id", ""))
            if link is not None and link.kind == "worksheet" and package.has(link.target):
                visible = attributes.get("state", "visible") == "visible"
                sheets.append(SheetEntry(attributes.get("name", ""), link.target, visible))

    walk([package.read(main)], main, on_start)
    by_kind = {link.kind: link.target for link in links.values() if package.has(link.target)}
    return Workbook(sheets, _faces(package, by_kind.get("styles")), by_kind.get("sharedStrings"), date1904)


def _links(package: Package, part: str) -> dict[str, _Link]:
    """The relationships of a part, by id. Links out of the file are left out: nothing is ever fetched."""
    folder, name = posixpath.split(part)
    rels = posixpath.join(folder, "_rels", f"{name}.rels")
    links: dict[str, _Link] = {}

    def on_start(name: str, attributes: dict[str, str]) -> None:
        if name == "Relationship" and attributes.get("TargetMode") != "External":
            # An absolute target drops the folder; zip names have no leading slash.
            target = posixpath.normpath(posixpath.join("/", folder, attributes.get("Target", ""))).lstrip("/")
            links[attributes.get("Id", "")] = _Link(posixpath.basename(attributes.get("Type", "")), target)

    if package.has(rels):
        walk([package.read(rels)], rels, on_start)
    return links


def _faces(package: Package, part: str | None) -> list[Face]:
    codes: dict[int, str] = {}
    format_ids: list[int] = []
    inside = ""

    def on_start(name: str, attributes: dict[str, str]) -> None:
        nonlocal inside
        if name == "numFmt" and inside != "dxfs":
            codes[_number(attributes.get("numFmtId"))] = attributes.get("formatCode", "")
        elif name in ("cellXfs", "cellStyleXfs", "cellStyles", "dxfs"):
            inside = name
        elif name == "xf" and inside == "cellXfs":
            format_ids.append(_number(attributes.get("numFmtId")))

    if part is not None:
        walk([package.read(part)], part, on_start)
    return faces_of(codes, format_ids)


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isdecimal() and len(text) < 10 else 0
