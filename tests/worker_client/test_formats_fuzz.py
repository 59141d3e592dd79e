"""Damaged workbooks without end: whatever the bytes, the reader answers with rows or with its own refusal.

BERT_FUZZ_SECONDS sets how long (a second or two in the ordinary run, 60 in CI); BERT_FUZZ_SEED repeats a run.
"""

import io
import os
import random
import time
import zipfile
from pathlib import Path

import pytest

from tests.sheet_factories import TEXT_ROWS, inline, parts, text_sheet, text_xml, token_sheet, write_parts
from worker_client.formats import Limits, SheetRefused, SheetRequest
from worker_client.formats.records import reading

SECONDS = float(os.environ.get("BERT_FUZZ_SECONDS", "1.5"))
SEED = int(os.environ.get("BERT_FUZZ_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
CORPUS = Path(__file__).parent.parent / "data" / "nasty"
LARGEST = 60_000  # bytes of a workbook to start from; larger ones only make fewer tries
# Small caps: what is tried is the code around them, not patience.
LIMITS = Limits(
    max_inflated_bytes=4 << 20, max_part_bytes=1 << 20, max_rows=20_000, max_cells=100_000, max_row_bytes=1 << 20
)
ODD = [
    b"<", b">", b"&", b"&#0;", b"&lol;", b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"</row>", b"<row>", b'<row r="0">',
    b'<row r="99999999999">', b"</sheetData>", b"<sheetData>", b"<!--", b"-->", b"<![CDATA[", b"]]>", b"<!DOCTYPE a>",
    b"<?xml?>", b'<c r="A1" t="s"><v>-1</v></c>', b'<c r="ZZZZ1">', b'<c t="n"><v>1e999</v></c>', b' t="s"', b' t="e"',
    b' t="d"', b' s="4294967296"', b"_x0000_", b"_xD800_", b"<is><r><t>", b"<v>", b"</v>", b"<f/>", b"\xef\xbb\xbf",
    b'<mergeCell ref="A1:XFD1048576"/>', b"\xc2\xa0", b"<si>", b"</si>", b'encoding="utf-16"', b'xmlns:x="y"', b"\r\n",
]  # fmt: skip


def seeds(folder: Path) -> list[bytes]:
    made = [
        text_sheet(folder / "a.xlsx", [*TEXT_ROWS, (1.5, True), ("", None), ("=A1", "#N/A")]),
        token_sheet(folder / "b.xlsx", [("a b", "B-P O"), ("['x', \"y\"]", '["O", "I-P"]')]),
        write_parts(
            folder / "c.xlsx",
            parts(
                text_xml(inline("A4", "três & <quatro>") + inline("B4", "a")).replace(
                    '<c r="B3"', '<c r="B3" s="1" t="s"><v>0</v></c><c r="C3"'
                ),
                strings="<si><t>zero</t></si><si><r><t>um</t></r><rPh><t>x</t></rPh></si>",
                styles="<numFmts><numFmt numFmtId='164' formatCode='dd/mm'/></numFmts>"
                "<cellXfs><xf/><xf numFmtId='164'/></cellXfs>",
            ),
        ),
    ]
    nasty = [path for path in sorted(CORPUS.glob("*.xlsx")) if path.stat().st_size <= LARGEST]
    return [path.read_bytes() for path in [*made, *nasty]]


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """A few bytes changed, cut out, repeated or put in."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(changed) + 1)
        span = rng.choice((1, 1, 2, 4, 16, 200))
        way = rng.randrange(5)
        if way == 0 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif way == 1:
            del changed[at : at + span]
        elif way == 2:
            changed[at:at] = changed[at : at + span]
        elif way == 3:
            changed[at:at] = rng.choice(ODD)
        else:
            changed[at : at + span] = rng.randbytes(span)
    return bytes(changed)


def mutate_parts(data: bytes, rng: random.Random) -> bytes:
    """The same done to the XML inside, packed again, so that the zip is sound and the parsers get to see it."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            made = {info.filename: archive.read(info) for info in archive.infolist() if info.file_size < LARGEST}
    except (zipfile.BadZipFile, ValueError, RuntimeError, NotImplementedError, OSError, EOFError):
        return mutate_bytes(data, rng)
    for name in rng.sample(sorted(made), min(len(made), rng.randint(1, 2))):
        made[name] = mutate_bytes(made[name], rng)
    if rng.random() < 0.1:
        made.pop(rng.choice(sorted(made)))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", rng.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED))) as archive:
        for name, content in made.items():
            archive.writestr(name, content)
    return packed.getvalue()


def read(path: Path, task: str | None, repair: bool) -> None:
    with reading(path, SheetRequest(task), repair_bio=repair, limits=LIMITS) as (_, records):
        for _ in records:
            pass


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_no_damage_brings_out_anything_but_a_refusal(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    corpus = seeds(tmp_path)
    path = tmp_path / "fuzzed.xlsx"
    until = time.monotonic() + SECONDS
    refused = accepted = 0
    while time.monotonic() < until:
        data = rng.choice((mutate_bytes, mutate_parts, mutate_parts))(rng.choice(corpus), rng)
        path.write_bytes(data)
        task = rng.choice((None, "text_classification", "token_classification"))
        try:
            read(path, task, repair=rng.random() < 0.5)
            accepted += 1
        except SheetRefused:
            refused += 1
        except BaseException as error:
            kept = Path(os.environ.get("BERT_FUZZ_KEEP", str(tmp_path))) / "broken.xlsx"
            kept.write_bytes(data)
            error.add_note(f"BERT_FUZZ_SEED={SEED}, task {task}; the file is {kept}")
            raise
    # Both must happen, or the damage is too small or too great to test anything.
    assert refused > 5
    assert accepted > 5
