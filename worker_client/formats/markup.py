"""XML without its dangers: no DTD, no entities of the file's own, no token that grows without end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from xml.parsers import expat

from worker_client.formats.container import corrupt
from worker_client.formats.terms import SheetRefused

# Older expat scans an unfinished token again with every chunk: cost grows with the square of its length.
MAX_TOKEN_BYTES = 1 << 20

StartHandler = Callable[[str, dict[str, str]], None]


def make_parser() -> expat.XMLParserType:
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.buffer_size = 1 << 16
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    return parser


def _refuse(*_: object) -> None:
    raise SheetRefused(
        "unsafe_xml", "the file declares its own XML entities (DTD), which no spreadsheet program writes"
    )


class Feeder:
    """Feeds a parser and turns what goes wrong into SheetRefused."""

    def __init__(self, parser: expat.XMLParserType, part: str) -> None:
        self._parser = parser
        self._part = part
        self._fed = 0

    def feed(self, data: bytes, final: bool = False) -> None:
        try:
            self._parser.Parse(data, final)
        except (expat.ExpatError, LookupError, UnicodeError) as error:
            if getattr(error, "code", None) == expat.errors.codes[expat.errors.XML_ERROR_NO_MEMORY]:
                raise MemoryError from error
            raise corrupt(f"the XML of {self._part} is not well formed") from error
        self._fed += len(data)
        if not final and self._fed - max(self._parser.CurrentByteIndex, 0) > MAX_TOKEN_BYTES + len(data):
            raise corrupt(f"the XML of {self._part} holds an endless tag")


def walk(chunks: Iterable[bytes], part: str, on_start: StartHandler) -> None:
    """Call on_start(local name, attributes by local name) for every element."""

    def start(name: str, attributes: dict[str, str]) -> None:
        on_start(local(name), {local(key): value for key, value in attributes.items()})

    parser = make_parser()
    parser.StartElementHandler = start
    feeder = Feeder(parser, part)
    for chunk in chunks:
        feeder.feed(chunk)
    feeder.feed(b"", final=True)


def local(name: str) -> str:
    return name.rpartition(":")[2]
