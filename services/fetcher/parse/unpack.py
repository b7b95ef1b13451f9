"""Unpacks a file as it lies on an element: plain, gzip, zip, tar or tar in gzip, recognised by its first bytes."""

import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from tempfile import SpooledTemporaryFile
from typing import IO, cast

from isal import isal_zlib

from services.fetcher.parse.bad_file import BadFile
from shared.errors import Unreachable

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

    def __init__(self, limits: UnpackLimits) -> None:
        self.limits = limits
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


def unpacked_members(data: bytes | Iterable[bytes], limits: UnpackLimits = UnpackLimits()) -> Iterator[Member]:
    """Yields the documents of a file in its order, without empty ones; read each before asking for the next.

    Raises:
        Incomplete: a packed file ends too early.
        BadFile: the file is damaged, exceeds the limits, or its packing is not supported.
    """
    meter = _Meter(limits)
    yield from _unpacked(Member("", meter.packed_in(_sliced(data))), meter, _LAYERS)


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
        for inner in _PACKINGS[packing](Member(member.name, whole)):
            yield from _unpacked(inner, meter, layers - 1)


def _packing(head: bytes) -> str:
    if head.startswith(b"\x1f\x8b"):
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


def _gunzip(packed: Member) -> Iterator[Member]:
    yield Member(packed.name, _inflated(packed.chunks))


def _inflated(source: Iterator[bytes]) -> Iterator[bytes]:
    """Yields the data of all gzip members; the file may be padded with zero bytes."""
    member = None
    for chunk in source:
        rest = chunk
        while rest := rest if member else rest.lstrip(b"\0"):
            member = member or isal_zlib.decompressobj(_GZIP)
            try:
                out = member.decompress(rest, _CHUNK)
            except isal_zlib.IsalError as error:  # type: ignore[misc] # its stub calls the class an instance
                raise BadFile(f"damaged gzip: {error}") from error
            if out:
                yield out
            rest = member.unconsumed_tail
            if member.eof:
                rest, member = member.unused_data, None
    if member:
        raise Incomplete("the gzip data ends too early")


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


def _untar(packed: Member) -> Iterator[Member]:
    stream = _Stream(packed.chunks)
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|") as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isfile() and _may_be_pm(member.name) else None
                if content is not None:
                    yield Member(member.name, _tar_member(content))
    except tarfile.ReadError as error:
        raise Incomplete(f"the tar archive ends too early: {error}") from error
    except tarfile.TarError as error:
        raise BadFile(f"damaged tar: {error}") from error
    if stream.tail.strip(b"\0"):
        raise Incomplete("the tar archive ends too early")


def _tar_member(content: IO[bytes]) -> Iterator[bytes]:
    try:
        while chunk := content.read(_CHUNK):
            yield chunk
    except tarfile.ReadError as error:
        raise Incomplete(f"the tar archive ends too early: {error}") from error


def _unzip(packed: Member) -> Iterator[Member]:
    with SpooledTemporaryFile(_SPOOL) as spool:
        spool.writelines(packed.chunks)  # the list of members stands at the end
        try:
            archive = zipfile.ZipFile(spool)
        except zipfile.BadZipFile as error:
            raise Incomplete(f"the zip archive ends too early: {error}") from error
        with archive:
            for member in archive.infolist():
                if not member.is_dir() and _may_be_pm(member.filename):
                    yield Member(member.filename, _zip_member(archive, member))


def _zip_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    try:
        with archive.open(member) as content:
            while chunk := content.read(_CHUNK):
                yield chunk
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise BadFile(f"damaged zip: {member.filename}: {error}") from error


def _may_be_pm(name: str) -> bool:
    """Returns False for files that archivers add (._A1.xml, .DS_Store, __MACOSX/) and for companions."""
    is_hidden = name.startswith("__MACOSX/") or name.rpartition("/")[2].startswith(".")
    return not is_hidden and not name.lower().endswith(_COMPANIONS)


_PACKINGS = {"gzip": _gunzip, "zip": _unzip, "tar": _untar}
