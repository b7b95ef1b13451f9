"""Unpacks a file as it lies on an element: plain, gzip, zip, tar or tar in gzip, recognised by its first bytes."""

import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from tempfile import SpooledTemporaryFile
from typing import IO, cast

from isal import isal_zlib

from services.fetcher.parse.bad_file import BadFile
from shared.errors import Hopeless, Unreachable

_CHUNK = 1 << 18
_SPOOL = 16 << 20
"""Bytes of a zip file that are held in memory; it has to be read from its end."""
_HEAD = 512
_LAYERS = 3
_FOREIGN = {
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x1f\x9d": "compress",
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
    b"Rar!": "RAR",
}
"""First bytes -> packing that is not supported."""
_COMPANIONS = (".xsl", ".xslt", ".xsd", ".dtd", ".md5", ".sha1", ".sha256", ".sha512")
"""Extensions of other files that accompany PM files in archives."""
_GZIP_MAGIC = b"\x1f\x8b"
_TRAILING = "bytes behind the end of the gzip data were ignored"
_GZIP = 31
"""isal's window size for deflate within a gzip frame."""


class Incomplete(Unreachable):
    """The packed file ends too early: the element may still be writing it."""


@dataclass(frozen=True, slots=True)
class UnpackLimits:
    """The size to which a file may unpack, as protection against bombs."""

    max_bytes: int = 2 << 30
    max_ratio: int = 200
    always_bytes: int = 32 << 20
    """Size up to which any ratio is allowed: a small file of zeros packs very well."""


@dataclass(frozen=True, slots=True)
class Member:
    """A document in a file."""

    name: str
    """Path within the archive; empty if the file is not an archive."""
    chunks: Iterator[bytes]


class _Meter:
    """Counts packed and unpacked bytes and enforces the limits."""

    def __init__(self, limits: UnpackLimits, notes: list[str]) -> None:
        self.limits = limits
        self.notes = notes
        self.packed = 0
        self.unpacked = 0

    def packed_in(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self.packed += len(chunk)
            yield chunk

    def check(self, more: int) -> None:
        self.unpacked += more
        if self.unpacked > self.limits.max_bytes:
            raise BadFile(f"the file unpacks to more than {self.limits.max_bytes} bytes")
        if self.unpacked > self.limits.always_bytes and self.unpacked > self.limits.max_ratio * self.packed:
            raise BadFile(f"the file unpacks to more than {self.limits.max_ratio} times its size")


def unpacked_members(
    data: bytes | Iterable[bytes], limits: UnpackLimits = UnpackLimits(), notes: list[str] | None = None
) -> Iterator[Member]:
    """Yields the documents of a file in its order, without empty ones; read each before asking for the next.

    Remarks on how the file was read are appended to `notes`.

    Raises:
        Incomplete: a packed file ends too early.
        BadFile: the file is damaged, exceeds the limits, or its packing is not supported.
    """
    meter = _Meter(limits, [] if notes is None else notes)
    is_empty = True
    for member in _unpacked(Member("", meter.packed_in(_sliced(data))), meter, _LAYERS):
        is_empty = False
        yield member
    if is_empty:
        raise BadFile("the archive contains no PM file")


def _sliced(data: bytes | Iterable[bytes]) -> Iterator[bytes]:
    for part in (data,) if isinstance(data, bytes) else data:
        for at in range(0, len(part), _CHUNK):
            yield part[at : at + _CHUNK]


def _unpacked(member: Member, meter: _Meter, layers: int) -> Iterator[Member]:
    source, head = member.chunks, b""
    while len(head) < _HEAD and (chunk := next(source, None)) is not None:
        head += chunk
    if member.name and not head:
        return
    packing = _packing(head)
    whole: Iterator[bytes] = chain([head] if head else [], source)
    if not packing or layers < _LAYERS:  # unpacked data, or data that was never packed
        whole = _counted(whole, meter)
    if not packing:
        yield Member(member.name, whole)
    elif not layers:
        raise BadFile(f"the file is packed more than {_LAYERS} times")
    else:
        for inner in _PACKINGS[packing](Member(member.name, whole), meter.notes):
            yield from _unpacked(inner, meter, layers - 1)


def _packing(head: bytes) -> str:
    if head.startswith(_GZIP_MAGIC):
        return "gzip"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    for begin, name in _FOREIGN.items():
        if head.startswith(begin):
            raise BadFile(f"the packing {name} is not supported; supported are gzip, zip and tar")
    return "tar" if head[257:262] == b"ustar" else ""


def _counted(source: Iterator[bytes], meter: _Meter) -> Iterator[bytes]:
    for chunk in source:
        meter.check(len(chunk))
        yield chunk


@contextmanager
def _damage(packing: str, *incomplete: type[Exception]) -> Iterator[None]:
    """Turns any error of a library that unpacks into ours.

    Which errors a library raises for damaged data depends on the damage and on its version.
    """
    try:
        yield
    except (Hopeless, Unreachable, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, incomplete):
            raise Incomplete(f"the {packing} archive ends too early: {error}") from error
        raise BadFile(f"damaged {packing}: {error or type(error).__name__}") from error


def _gunzip(packed: Member, notes: list[str]) -> Iterator[Member]:
    yield Member(packed.name, _inflated(packed, notes))


def _inflated(packed: Member, notes: list[str]) -> Iterator[bytes]:
    """Yields the data of all gzip members; the file may be padded with zero bytes, or with others that are noted."""
    member, rest, is_first = None, b"", True
    for chunk in packed.chunks:
        rest += chunk
        while rest := rest if member else rest.lstrip(b"\0"):
            if not member and not is_first and not rest.startswith(_GZIP_MAGIC[: len(rest)]):
                notes.append(f"{packed.name}: {_TRAILING}" if packed.name else _TRAILING)
                return
            if not member and len(rest) < len(_GZIP_MAGIC) and not is_first:
                break
            member, is_first = member or isal_zlib.decompressobj(_GZIP), False
            with _damage("gzip"):
                out = member.decompress(rest, _CHUNK)
            if out:
                yield out
            rest = member.unconsumed_tail
            if member.eof:
                rest, member = member.unused_data, None
    if member:
        raise Incomplete("the gzip data ends too early")
    if rest.strip(b"\0"):
        notes.append(f"{packed.name}: {_TRAILING}" if packed.name else _TRAILING)


class _Stream:
    """Presents chunks as the file object that tarfile expects; remembers the last bytes."""

    def __init__(self, source: Iterator[bytes]) -> None:
        self.source = source
        self.left = b""
        self.tail = b""

    def read(self, size: int, /) -> bytes:
        while not self.left and (chunk := next(self.source, None)) is not None:
            self.left = chunk
        taken, self.left = self.left[:size], self.left[size:]
        self.tail = (self.tail + taken)[-_HEAD:]
        return taken


def _untar(packed: Member, _notes: list[str]) -> Iterator[Member]:
    stream = _Stream(packed.chunks)
    with _damage("tar", tarfile.ReadError), tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|") as tar:
        members = iter(tar)
        while (member := next(members, None)) is not None:
            content = tar.extractfile(member) if member.isfile() and _may_be_pm(member.name) else None
            if content is not None:
                yield Member(member.name, _content(content, "tar", tarfile.ReadError))
    if stream.tail.strip(b"\0"):
        raise Incomplete("the tar archive ends too early")


def _content(content: IO[bytes], packing: str, *incomplete: type[Exception]) -> Iterator[bytes]:
    while True:
        with _damage(packing, *incomplete):
            chunk = content.read(_CHUNK)
        if not chunk:
            return
        yield chunk


def _unzip(packed: Member, _notes: list[str]) -> Iterator[Member]:
    with SpooledTemporaryFile(_SPOOL) as spool:
        try:
            spool.writelines(packed.chunks)  # the list of members stands at the end
        except OSError as error:
            raise Unreachable(f"cannot spool to disk: {error}") from error
        with _damage("zip"):
            spool.seek(0)
            if not zipfile.is_zipfile(spool):
                raise Incomplete("the zip archive ends too early: it has no list of members at its end")
            archive = zipfile.ZipFile(spool)
        with archive:
            for member in archive.infolist():
                if not member.is_dir() and _may_be_pm(member.filename):
                    yield Member(member.filename, _zip_member(archive, member))


def _zip_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    with _damage("zip"):
        content = archive.open(member)
    with content:
        yield from _content(content, "zip")


def _may_be_pm(name: str) -> bool:
    """Returns False for files that archivers add (._A1.xml, .DS_Store, __MACOSX/) and for companions."""
    is_hidden = name.startswith("__MACOSX/") or name.rpartition("/")[2].startswith(".")
    return not is_hidden and not name.lower().endswith(_COMPANIONS)


_PACKINGS = {"gzip": _gunzip, "zip": _unzip, "tar": _untar}
