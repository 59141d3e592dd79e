"""The table of shared strings, in the order of the file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from worker_client.formats.cells import unescape
from worker_client.formats.container import Package, too_large
from worker_client.formats.markup import Feeder, local, make_parser
from worker_client.formats.plain import STRINGS, Irregular, bodies, decode, plain_text, refuse_sections
from worker_client.formats.terms import Limits

ITEM = re.compile(r'<si><t(?: xml:space="preserve")?>([^<]*)</t></si>')
ITEM_TAGS = 4


def load_strings(package: Package, part: str | None, limits: Limits) -> list[str]:
    """All shared strings; rich text loses its formatting, phonetic hints are left out. Raises SheetRefused."""
    strings: list[str] = []
    for batch in _batches(package, part) if part else ():
        strings += batch
        if len(strings) > limits.max_strings:
            raise too_large("texts", limits.max_strings)
        if max(map(len, batch), default=0) > limits.max_cell_chars:
            raise too_large("characters in one cell", limits.max_cell_chars)
    return strings


def _batches(package: Package, part: str) -> Iterator[list[str]]:
    done = 0
    try:
        for body in bodies(package.chunks(part), part, STRINGS):
            batch = plain_strings(body)
            if batch is None:
                refuse_sections(body)
                batch = [text for texts in parse_strings([b"<sst>", body, b"</sst>"], part) for text in texts]
            done += len(batch)
            yield batch
    except Irregular:
        for batch in parse_strings(package.chunks(part), part):
            skipped = min(done, len(batch))
            done -= skipped
            yield batch[skipped:]


def plain_strings(body: bytes) -> list[str] | None:
    """The texts of whole `<si>` items written plainly, or None when some are not."""
    text = plain_text(body)
    if text is None:
        return None
    found: list[str] = ITEM.findall(text)
    if text.count("<") != ITEM_TAGS * len(found):
        return None
    if "&" in text:
        found = [decode(text) if "&" in text else text for text in found]
    return [unescape(text) for text in found] if "_" in text and "_x" in text else found


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
