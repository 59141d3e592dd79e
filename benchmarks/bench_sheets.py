"""Reading and judging a large sheet, against pandas and openpyxl that only read it.

    python benchmarks/bench_sheets.py --rows 100000 --rounds 3
    python benchmarks/bench_sheets.py --rows 1000000 --rounds 1 --ours

Each reading runs in a process of its own, the readers in turn within each round. Time is told by the clock and by the
processor; memory is the growth of the highest resident size after the imports (Linux: VmHWM, which a child does not
inherit). The ratios are the medians over the rounds of (other / what an upload runs). "In its child" is what the
server waits for: the start of the confined child and its imports included, in time only.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parent.parent
OURS = "ours: read, validate, preview"
# survey: what check_sheet imports late, as pandas is imported before its clock starts
JUDGE = (
    "import datasets_app.survey; from datasets_app.validation import check_sheet; "
    "from worker_client.formats import SheetRequest"
)
READERS = {
    "ours: read, validate, preview": (JUDGE, "rows = check_sheet(path, SheetRequest()).num_rows"),
    "ours: the same in its child": (
        "from datasets_app.checking import check_file; from worker_client.formats import SheetRequest",
        "rows = check_file(path, SheetRequest()).num_rows",
    ),
    "ours: without the preview": (JUDGE, "rows = check_sheet(path, SheetRequest(), plan=None).num_rows"),
    "ours: read": (
        "from worker_client.formats import read_records",
        "rows = sum(1 for _ in read_records(path, task_type='text_classification', sheet=None, columns={}))",
    ),
    "pandas, openpyxl": ("import pandas, openpyxl", "rows = len(pandas.read_excel(path, engine='openpyxl'))"),
    "pandas, calamine": ("import pandas, python_calamine", "rows = len(pandas.read_excel(path, engine='calamine'))"),
    "openpyxl, read-only": (
        "import openpyxl",
        "rows = sum(1 for _ in openpyxl.load_workbook(path, read_only=True).active.values) - 1",
    ),
}
CLOCKS = {"wall_s": "clock", "cpu_s": "processor"}
CHILD = """
import json, os, re, sys, time
from pathlib import Path
path = Path(sys.argv[1])
{imports}
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
def processor():
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system
before, worked, started = peak(), processor(), time.perf_counter()
{work}
told = {{"rows": rows, "wall_s": time.perf_counter() - started, "cpu_s": processor() - worked}}
print(json.dumps({{**told, "growth_mib": peak() - before}}))
"""
HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
LINKS = "http://schemas.openxmlformats.org/package/2006/relationships"
TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"
KIND = "application/vnd.openxmlformats-officedocument.spreadsheetml"
WORDS = [
    "de",
    "a",
    "o",
    "que",
    "e",
    "do",
    "ação",
    "não",
    "recurso",
    "sentença",
    "réu",
    "lei",
    "art. 5º",
    "juízo",
    "§ 2º",
]
STEMS = ["pro", "cess", "recor", "jul", "apel", "sent", "con", "trib", "exe", "cut", "pen", "hor", "dem", "and", "liq"]
STEMS += ["aver", "bam", "fisc", "vot", "quit", "imp", "ugn", "lit", "isp", "est", "ator", "med", "ida", "oner", "vig"]
ENDINGS = ["ção", "mente", "ado", "idade", "ar", "ência", "ório", "os", "al", "ível", "amento", "ante"]
LABELS = ["procedente", "improcedente", "extinto", "acordo"]


def texts(rows: int, seed: int) -> Iterator[tuple[str, str]]:
    """Rows of about 400 characters: a few frequent words and many rare ones, as in real text."""
    rng = random.Random(seed)
    vocabulary = WORDS + [f"{rng.choice(STEMS)}{rng.choice(STEMS)}{rng.choice(ENDINGS)}" for _ in range(5_000)]
    # Summed once: every text is drawn anew, since passages of one long text would all be near-duplicates.
    weights = list(accumulate(1 / (i + 1) for i in range(len(vocabulary))))
    for _ in range(rows):
        text = " ".join(rng.choices(vocabulary, cum_weights=weights, k=70))[: rng.randint(360, 440)]
        yield text + rng.choice(["", "", "", " & outros", "\nIntime-se."]), rng.choice(LABELS)


def write_parts(path: Path, sheet: Iterator[str], strings: Iterator[str] | None) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        overrides = {"workbook": "sheet.main", "worksheets/sheet1": "worksheet", "sharedStrings": "sharedStrings"}
        archive.writestr(
            "[Content_Types].xml",
            f'{HEAD}<Types xmlns="{TYPES}"><Default Extension="xml" ContentType="application/xml"/><Default '
            'Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            + "".join(f'<Override PartName="/xl/{n}.xml" ContentType="{KIND}.{k}+xml"/>' for n, k in overrides.items())
            + "</Types>",
        )
        link = '<Relationship Id="{0}" Type="' + OFFICE + '/{1}" Target="{2}"/>'
        main = link.format("r1", "officeDocument", "xl/workbook.xml")
        archive.writestr("_rels/.rels", f'{HEAD}<Relationships xmlns="{LINKS}">{main}</Relationships>')
        archive.writestr(
            "xl/workbook.xml",
            f'{HEAD}<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}"><sheets><sheet name="dados" sheetId="1" r:id="r1"/>'
            "</sheets></workbook>",
        )
        targets = [("r1", "worksheet", "worksheets/sheet1.xml"), ("r2", "sharedStrings", "sharedStrings.xml")]
        links = "".join(link.format(*target) for target in targets)
        archive.writestr("xl/_rels/workbook.xml.rels", f'{HEAD}<Relationships xmlns="{LINKS}">{links}</Relationships>')
        with archive.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as part:
            part.write(f'{HEAD}<worksheet xmlns="{MAIN}"><sheetData>'.encode())
            part.writelines(piece.encode() for piece in sheet)
            part.write(b"</sheetData></worksheet>")
        with archive.open("xl/sharedStrings.xml", "w", force_zip64=True) as part:
            part.write(f'{HEAD}<sst xmlns="{MAIN}">'.encode())
            part.writelines(piece.encode() for piece in strings or ())
            part.write(b"</sst>")


def write_shared(path: Path, rows: int) -> None:
    """As Excel writes: every text once in a table, the cells point to it."""
    table: dict[str, int] = {}

    def sheet() -> Iterator[str]:
        for n, pair in enumerate([("text", "label"), *texts(rows, seed=7)], start=1):
            a, b = (table.setdefault(text, len(table)) for text in pair)
            yield f'<row r="{n}" spans="1:2"><c r="A{n}" t="s"><v>{a}</v></c><c r="B{n}" t="s"><v>{b}</v></c></row>'

    def strings() -> Iterator[str]:
        # Asked for only after the sheet is written, when the table is full.
        for text in table:
            yield f'<si><t xml:space="preserve">{escape(text)}</t></si>'

    write_parts(path, sheet(), strings())


def write_inline(path: Path, rows: int) -> None:
    """As openpyxl's and other streaming writers do: texts inside their cells."""
    cell = '<c r="{}{}" t="inlineStr"><is><t xml:space="preserve">{}</t></is></c>'
    pairs = enumerate([("text", "label"), *texts(rows, seed=7)], start=1)
    sheet = (
        f'<row r="{n}">{cell.format("A", n, escape(a))}{cell.format("B", n, escape(b))}</row>' for n, (a, b) in pairs
    )
    write_parts(path, sheet, None)


def measure(name: str, path: Path) -> dict[str, float]:
    imports, work = READERS[name]
    code = CHILD.format(imports=imports, work=work)
    command = [sys.executable, "-W", "ignore", "-c", code, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    told: dict[str, float] = json.loads(done.stdout)
    return told


def compare(path: Path, rows: int, rounds: int, readers: list[str]) -> None:
    found: dict[str, list[dict[str, float]]] = {name: [] for name in readers}
    for _ in range(rounds):
        for name in readers:
            told = measure(name, path)
            if told["rows"] != rows:
                raise SystemExit(f"{name} found {told['rows']} rows of {rows}")
            found[name].append(told)
    for name, results in found.items():
        growth = max(told["growth_mib"] for told in results)
        print(f"  {name:29} +{growth:4.0f} MiB" + "".join(against(results, found[OURS], key) for key in CLOCKS))


def against(results: list[dict[str, float]], ours: list[dict[str, float]], key: str) -> str:
    ratio = statistics.median(other[key] / own[key] for other, own in zip(results, ours, strict=True))
    seconds = statistics.median(told[key] for told in results)
    return f"   {CLOCKS[key]} {seconds:6.2f} s {ratio:5.2f}x"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ours", action="store_true", help="measure no other reader, as for a million rows")
    asked = parser.parse_args()
    readers = [name for name in READERS if name.startswith("ours") or not asked.ours]
    with tempfile.TemporaryDirectory() as folder:
        for kind, write in {"shared strings": write_shared, "inline strings": write_inline}.items():
            path = Path(folder) / "sheet.xlsx"
            write(path, asked.rows)
            print(f"{asked.rows} rows, {kind}, {path.stat().st_size / 2**20:.1f} MiB, median of {asked.rounds} rounds")
            compare(path, asked.rows, asked.rounds, readers)


if __name__ == "__main__":
    main()
