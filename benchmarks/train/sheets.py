"""The rows that both sides train on: drawn from real sheets, written to one sheet with a `split` column."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

from worker_client.formats import TEXT_CLASSIFICATION, TOKEN_CLASSIFICATION, Record, RowFault, read_records

BUNDLED = Path(__file__).resolve().parents[2] / "datasets_app" / "samples"
PARTS = ("train", "validation", "test")
SEED = 7


@dataclass(frozen=True)
class Source:
    """Where the rows of a kind of data come from: the larger file of `--data`, else a bundled one."""

    task: str
    file: str
    bundled: str


SOURCES = {
    "short": Source(TEXT_CLASSIFICATION, "andamentos_train.xlsx", "andamentos_train.xlsx"),
    "entities": Source(TOKEN_CLASSIFICATION, "lener_br_train.xlsx", "sample_ner.xlsx"),
    "long": Source(TEXT_CLASSIFICATION, "ementas_tjce_train.xlsx", ""),
}


@dataclass(frozen=True)
class Rows:
    """Records of one kind of data, and what a reader should know of them."""

    task: str
    records: list[Record]
    described: str

    @property
    def labels(self) -> list[str]:
        """Of all records, whatever part they fall into."""
        return sorted({label for record in self.records for label in record.tags or (record.label,)})


def load(kind: str, folder: Path | None) -> Rows:
    """All rows of a kind. Long texts are not bundled: without `--data`, short ones are joined."""
    source = SOURCES[kind]
    if folder and (folder / source.file).is_file():
        return Rows(source.task, read(folder / source.file, source.task), f"{source.file} of --data")
    if source.bundled:
        return Rows(source.task, read(BUNDLED / source.bundled, source.task), f"bundled {source.bundled}")
    short = load("short", folder)
    return Rows(source.task, list(_joined(short.records)), f"{short.described}, rows of one label joined")


def read(path: Path, task: str) -> list[Record]:
    """Every row; the sheets are ours, so a faulty row is an error."""
    records = []
    for item in read_records(path, task_type=task, sheet=None, columns={}):
        if isinstance(item, RowFault):
            raise SystemExit(f"{path.name}, row {item.row}: {item.code}")
        records.append(item)
    return records


def read_parts(path: Path, task: str) -> dict[str, list[Record]]:
    """The records of a sheet by its `split` column."""
    records = read(path, task)
    return {part: [record for record in records if record.split == part] for part in PARTS}


def texts(folder: Path | None) -> Iterator[str]:
    """Of all kinds: what a vocabulary is learned from."""
    for kind in SOURCES:
        for record in load(kind, folder).records:
            yield record.text or " ".join(record.tokens)


def draw(rows: Rows, sizes: Sequence[int], *, distinct: bool = False) -> dict[str, list[Record]]:
    """Random rows, `sizes` for train, validation and test; repeated where there are too few.

    distinct: no text twice, so that no part is tested on what another was trained on; then fewer may come.
    """
    records = list({(record.text, record.tokens): record for record in rows.records}.values())
    records = records if distinct else list(rows.records)
    random.Random(SEED).shuffle(records)
    if distinct:
        share = min(1.0, len(records) / sum(sizes))
        sizes = [int(size * share) for size in sizes]
    drawn = islice(cycle(records), sum(sizes))
    return {part: list(islice(drawn, size)) for part, size in zip(PARTS, sizes, strict=True)}


def write(path: Path, task: str, parts: dict[str, list[Record]]) -> Path:
    """The sheet that both sides read."""
    from worker_client.training.sheets import SheetWriter

    writer = SheetWriter()
    words = task == TOKEN_CLASSIFICATION
    append = writer.start_sheet("dados", ["tokens", "tags", "split"] if words else ["text", "label", "split"])
    for part, records in parts.items():
        for record in records:
            cells = (" ".join(record.tokens), " ".join(record.tags)) if words else (record.text, record.label)
            append([*cells, part])
    writer.save(path)
    return path


def _joined(records: Sequence[Record]) -> Iterator[Record]:
    """Texts of 100 to 800 words, made of rows of one label: as long as syllabi of court decisions."""
    dice = random.Random(SEED)
    by_label: dict[str, list[str]] = {}
    for record in records:
        by_label.setdefault(record.label, []).append(record.text)
    for label, texts in sorted(by_label.items()):
        source = iter(texts)
        while True:
            wanted, words = dice.randint(100, 800), []
            while len(words) < wanted and (text := next(source, None)):
                words += text.split()
            if len(words) < wanted:
                break
            yield Record(row=0, text=" ".join(words), label=label)
