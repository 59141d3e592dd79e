"""The table of shared strings, in the order of the file: in memory, and beyond a size in a temporary file."""

from __future__ import annotations

import re
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import overload

from worker_client.formats.cells import unescape
from worker_client.formats.container import Package, too_large
from worker_client.formats.markup import Feeder, local, make_parser
from worker_client.formats.plain import STRINGS, Irregular, bodies, decode_all, plain_text, refuse_sections
from worker_client.formats.terms import Limits

ITEM = re.compile(r'<si><t(?: xml:space="preserve")?>([^<]*)</t></si>')
ITEM_TAGS = 4
OPENINGS = ('<si><t xml:space="preserve">', "<si><t>")


MEMORY_BYTES = 48 << 20  # of texts held in memory; labels are nearly always among them, as they appear early
STRING_BYTES = 64  # what Python adds to each
READ_BYTES = 1 << 14  # from the file at once: rows mostly follow the order of the table


class SpilledStrings(Sequence[str]):
    """Texts of which the first are in memory and the rest in a file without a name, gone when this is."""

    def __init__(self, kept: list[str]) -> None:
        self._kept = kept
        self._file = tempfile.TemporaryFile(buffering=READ_BYTES)  # noqa: SIM115  (closed with the table)
        self._ends = array("Q", [0])

    def extend(self, texts: Iterable[str]) -> None:
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        self._file.write(b"".join(encoded))
        self._ends.extend(accumulate(map(len, encoded), initial=self._ends.pop()))

    def __del__(self) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._kept) + len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if index < len(self._kept):
            return self._kept[index]
        place = index - len(self._kept)
        start, end = self._ends[place], self._ends[place + 1]
        self._file.seek(start)
        return self._file.read(end - start).decode("utf-8", "surrogatepass")


def load_strings(package: Package, part: str | None, limits: Limits) -> Sequence[str]:
    """All shared strings; rich text loses its formatting, phonetic hints are left out. Raises SheetRefused."""
    strings: list[str] | SpilledStrings = []
    held = 0
    for batch in _batches(package, part) if part else ():
        strings.extend(batch)
        lengths = [*map(len, batch)]
        held += sum(lengths) + STRING_BYTES * len(lengths)
        if held > MEMORY_BYTES and isinstance(strings, list):
            strings = SpilledStrings(strings)
        if len(strings) > limits.max_strings:
            raise too_large("texts", limits.max_strings)
        if max(lengths, default=0) > limits.max_cell_chars:
            raise too_large("characters in one cell", limits.max_cell_chars)
    return strings


def _batches(package: Package, part: str) -> Iterator[Sequence[str]]:
    done = 0
    try:
        for body in bodies(package.chunks(part), part, STRINGS):
            batch = plain_strings(body)
            if batch is None:
                refuse_sections(body, STRINGS)
                batch = [text for texts in parse_strings([b"<sst>", body, b"</sst>"], part) for text in texts]
            done += len(batch)
            yield batch
    except Irregular:
        for batch in parse_strings(package.chunks(part), part):
            skipped = min(done, len(batch))
            done -= skipped
            yield batch[skipped:]


def plain_strings(body: bytes) -> Sequence[str] | None:
    """The texts of whole `<si>` items written plainly, or None when some are not."""
    text = plain_text(body)
    if text is None:
        return None
    found = _uniform(text)
    if found is None:
        found = ITEM.findall(text)
        if text.count("<") != ITEM_TAGS * len(found):
            return None
    found = decode_all(found, text)
    return [unescape(text) for text in found] if "_" in text and "_x" in text else found


def _uniform(text: str) -> Sequence[str] | None:
    """The texts when all items are opened alike, as all but Excel write them; a split is faster than a match."""
    opening, closing = text[: text.find(">", len("<si>")) + 1], "</t></si>"
    if opening not in OPENINGS or not text.endswith(closing):
        return None
    found = text[len(opening) : -len(closing)].split(closing + opening)
    return None if "<" in "".join(found) else found


def parse_strings(chunks: Iterable[bytes], part: str) -> Iterator[list[str]]:
    """The same by expat, for any XML."""
    batch: list[str] = []
    pieces: list[str] = []
    inside = {"t": 0, "rPh": 0}

    def start(name: str, _: dict[str, str]) -> None:
        name = local(name)
        if name in inside:
            inside[name] += 1

    def end(name: str) -> None:
        name = local(name)
        if name in inside:
            inside[name] -= 1
        elif name == "si":
            batch.append(unescape("".join(pieces)))
            pieces.clear()

    def characters(data: str) -> None:
        if inside["t"] and not inside["rPh"]:
            pieces.append(data)

    parser = make_parser()
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, characters
    feeder = Feeder(parser, part)
    for chunk in chunks:
        feeder.feed(chunk)
        yield batch.copy()
        batch.clear()
    feeder.feed(b"", final=True)
