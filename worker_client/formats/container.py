"""The .xlsx file as a zip: what it is, which parts it has, and their bytes under caps that cannot be lied to."""

from __future__ import annotations

import mmap
import struct
import zipfile
from collections.abc import Iterator
from typing import BinaryIO

from worker_client.formats.terms import Limits, SheetRefused

try:
    from isal import isal_zlib as zlib  # the same functions, more than twice as fast
except ImportError:  # it is made for x86 and ARM only
    import zlib  # type: ignore[no-redef]

OLE2 = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
ZIP = b"PK\x03\x04"
CHUNK = 1 << 20
READ_BYTES = 1 << 18
# glibc gives memory back and faults it in again with every chunk, up to a size that grows with the largest block freed.
FREED_BYTES = 16 << 20
FLAG_ENCRYPTED = 0x1
HEADER = 30  # bytes of a zip local header before the name

# What people send instead of .xlsx, by their first bytes; the message names the kind.
OTHER_KINDS = ((b"%PDF", "pdf"), (b"<", "html"), (b"{\\rtf", "rtf"))
OTHER_PARTS = (("word/document.xml", "docx"), ("ppt/presentation.xml", "pptx"), ("xl/workbook.bin", "xlsb"))


def corrupt(what: str) -> SheetRefused:
    return SheetRefused("corrupt", f"the file is damaged: {what}; open it in Excel, save it again and send that copy")


def too_large(what: str, limit: int) -> SheetRefused:
    return SheetRefused(
        "too_large", f"the file holds more than this system reads: {what} above {limit}", what=what, limit=limit
    )


class Package:
    """The parts of one open file. Nothing is ever written to disk, so names such as `../x` can do no harm.

    Raises SheetRefused: not_xlsx, encrypted, corrupt, too_large.
    """

    def __init__(self, stream: BinaryIO, limits: Limits) -> None:
        self._stream = stream
        self._limits = limits
        self._spent: dict[str, int] = {}
        _check_first_bytes(stream, limits)
        self._parts = _read_directory(stream, limits)
        _check_kind(self._parts)

    def has(self, name: str) -> bool:
        return name.lower() in self._parts

    def read(self, name: str) -> bytes:
        """A small part as a whole."""
        cap = self._limits.max_part_bytes
        data = bytearray()
        for chunk in self.chunks(name):
            data += chunk
            if len(data) > cap:
                raise too_large(f"bytes of {name}", cap)
        return bytes(data)

    def chunks(self, name: str) -> Iterator[bytes]:
        """The inflated bytes of a part, CHUNK at most at a time, counted as they appear, CRC checked at the end."""
        bytes(FREED_BYTES)
        info = self._parts.get(name.lower())
        if info is None:
            raise corrupt(f"the part {name} is missing")
        if info.file_size > self._limits.max_inflated_bytes:
            raise too_large("bytes when unpacked", self._limits.max_inflated_bytes)
        size, crc = 0, 0
        for chunk in self._inflate(info):
            size += len(chunk)
            crc = zlib.crc32(chunk, crc)
            self._spend(name, size)
            yield chunk
        if crc != info.CRC:
            raise corrupt(f"the checksum of {name} is wrong")

    def _spend(self, name: str, size: int) -> None:
        # A part may be read twice; it counts once, by its longest reading.
        self._spent[name] = max(size, self._spent.get(name, 0))
        if sum(self._spent.values()) > self._limits.max_inflated_bytes:
            raise too_large("bytes when unpacked", self._limits.max_inflated_bytes)

    def _inflate(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        raw = self._raw(info)
        if info.compress_type == zipfile.ZIP_STORED:
            yield from raw
            return
        if info.compress_type != zipfile.ZIP_DEFLATED:
            raise corrupt(f"{info.filename} is compressed in an unknown way")
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            for data in raw:
                while data and not inflater.eof:
                    chunk = inflater.decompress(data, CHUNK)
                    data = inflater.unconsumed_tail
                    if chunk:
                        yield chunk
            while chunk := inflater.decompress(inflater.unconsumed_tail, CHUNK):
                yield chunk
        except zlib.error as error:  # type: ignore[misc]
            raise corrupt(f"{info.filename} does not unpack") from error
        if not inflater.eof:
            raise corrupt(f"{info.filename} ends too early")

    def _raw(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        stream = self._stream
        stream.seek(info.header_offset)
        head = stream.read(HEADER)
        if len(head) != HEADER or head[:4] != ZIP:
            raise corrupt(f"no entry where the directory says {info.filename} is")
        name_length, extra_length = struct.unpack("<HH", head[26:30])
        at = info.header_offset + HEADER + name_length + extra_length
        left = info.compress_size
        while left:
            stream.seek(at)  # another part may have been read in between
            data = stream.read(min(READ_BYTES, left))
            if not data:
                raise corrupt(f"{info.filename} ends too early")
            at += len(data)
            left -= len(data)
            yield data


def _check_first_bytes(stream: BinaryIO, limits: Limits) -> None:
    size = stream.seek(0, 2)
    stream.seek(0)
    head = stream.read(512)
    if size > limits.max_file_bytes:
        raise too_large("bytes of the file", limits.max_file_bytes)
    if head.startswith(OLE2):
        raise _ole2(stream)
    if not head.startswith(ZIP):
        raise _not_xlsx(_kind_of(head))


def _kind_of(head: bytes) -> str:
    if not head:
        return "empty"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for magic, kind in OTHER_KINDS:
        if text.startswith(magic):
            return kind
    return "unknown" if b"\x00" in head else "text"


def _not_xlsx(kind: str) -> SheetRefused:
    return SheetRefused("not_xlsx", f"not an .xlsx workbook (looks like: {kind}); save it as .xlsx in Excel", kind=kind)


def _ole2(stream: BinaryIO) -> SheetRefused:
    """An encrypted .xlsx and an old .xls share their first bytes; only the first holds a stream EncryptedPackage."""
    with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        encrypted = data.find("EncryptedPackage".encode("utf-16-le")) >= 0
    if encrypted:
        return SheetRefused("encrypted", "the workbook has a password; save it without one and send it again")
    return _not_xlsx("xls")


def _read_directory(stream: BinaryIO, limits: Limits) -> dict[str, zipfile.ZipInfo]:
    """Lower-case name -> entry. Two entries of one name, or entries that overlap, let two readers see two files."""
    try:
        infos = zipfile.ZipFile(stream).infolist()
    except (
        zipfile.BadZipFile,
        ValueError,
        NotImplementedError,
        struct.error,
        OverflowError,
        EOFError,
        OSError,
    ) as error:
        raise corrupt("its zip directory cannot be read, perhaps the upload was cut short") from error
    if len(infos) > limits.max_entries:
        raise too_large("entries in the zip", limits.max_entries)
    parts: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        if info.flag_bits & FLAG_ENCRYPTED:
            raise SheetRefused("encrypted", "the zip entries have a password; send the file without one")
        if parts.setdefault(info.filename.lower(), info) is not info:
            raise corrupt("its zip holds two entries of one name")
    _check_overlaps(infos)
    return parts


def _check_overlaps(infos: list[zipfile.ZipInfo]) -> None:
    end = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise corrupt("its zip entries overlap")
        end = info.header_offset + HEADER + info.compress_size


def _check_kind(parts: dict[str, zipfile.ZipInfo]) -> None:
    for name, kind in OTHER_PARTS:
        if name in parts:
            raise _not_xlsx(kind)
    if any(name.endswith("vbaproject.bin") for name in parts):
        raise _not_xlsx("xlsm")
    if "mimetype" in parts and "content.xml" in parts:
        raise _not_xlsx("ods")
    if "[content_types].xml" not in parts:
        raise _not_xlsx("zip")
