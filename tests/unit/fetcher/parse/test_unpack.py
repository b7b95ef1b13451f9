"""Packed files are recognised by their first bytes and limited in size; an early end is not taken for damage."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable

import pytest

from services.fetcher.parse.bad_file import BadFile
from services.fetcher.parse.unpack import Incomplete, UnpackLimits, unpacked_members
from tests.unit.fetcher.parse.reading import cut

A, B = b"<a>1</a>" * 3000, b"<b>2</b>"


def zipped(**members: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


def tarred(**members: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def contents(data: bytes, limits: UnpackLimits | None = None, chunk: int = 1 << 16) -> list[bytes]:
    return [b"".join(member.chunks) for member in unpacked_members(cut(data, chunk), limits or UnpackLimits())]


@pytest.mark.parametrize("chunk", [1, 100, 1 << 16])
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (A, [A]),
        (b"", [b""]),
        (gzip.compress(A), [A]),
        (gzip.compress(A) + gzip.compress(B), [A + B]),
        (gzip.compress(A) + b"\0" * 700, [A]),
        (zipped(a=A, b=B), [A, B]),
        (tarred(a=A, b=B), [A, B]),
        (gzip.compress(tarred(a=gzip.compress(A), b=B)), [A, B]),
        (zipped(a=gzip.compress(A)), [A]),
        (zipped(**{"__MACOSX/a": B, "x/.DS_Store": B, "x/": b"", "x/a": A}), [A]),
        (tarred(**{"a.xml": A, "MeasDataCollection.DTD": B, "a.xml.md5": B, "empty.xml": b""}), [A]),
        (zipped(a=gzip.compress(tarred(b=B))), [B]),
        (gzip.compress(gzip.compress(A)), [A]),
    ],
    ids=[
        "plain",
        "empty",
        "gzip",
        "gzip twice in a row",
        "gzip with zeros behind it",
        "zip",
        "tar",
        "gzip of tar",
        "gzip in zip",
        "zip with files of macOS",
        "tar with a DTD and digests",
        "tar in gzip in zip",
        "gzip of gzip",
    ],
)
def test_a_file_is_unpacked_by_its_first_bytes_in_chunks_of_any_size(
    data: bytes, expected: list[bytes], chunk: int
) -> None:
    assert contents(data, chunk=chunk) == expected


def test_a_document_of_an_archive_has_its_name_there() -> None:
    packed = gzip.compress(tarred(**{"pm/a.xml": A, "b.xml.gz": gzip.compress(B)}))
    assert [(member.name, b"".join(member.chunks)) for member in unpacked_members(packed)] == [
        ("pm/a.xml", A),
        ("b.xml.gz", B),
    ]


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress])
def test_a_packing_that_is_not_read_is_named(pack: Callable[[bytes], bytes]) -> None:
    with pytest.raises(BadFile, match=r"the packing (bzip2|xz) is not supported"):
        contents(pack(A))


@pytest.mark.parametrize("pack", [gzip.compress, lambda data: zipped(a=data)])
@pytest.mark.parametrize("missing", [1, 5, 21, 200, 380])
def test_a_packed_file_that_ends_too_early_is_incomplete(pack: Callable[[bytes], bytes], missing: int) -> None:
    with pytest.raises(Incomplete):
        contents(pack(bytes(range(256)) * 100)[:-missing])


@pytest.mark.parametrize("length", [300, 512, 600, 512 + 8192, 512 + 8192 + 300])
def test_a_tar_without_its_end_is_incomplete(length: int) -> None:
    whole = tarred(a=b"x" * 8192, b=B)
    for packed in (whole[:length], gzip.compress(whole[:length])):
        with pytest.raises(Incomplete):
            contents(packed)


def test_a_damaged_gzip_is_a_bad_file() -> None:
    packed = bytearray(gzip.compress(bytes(range(256)) * 100))
    packed[-6] ^= 1  # the checksum
    with pytest.raises(BadFile, match="damaged gzip"):
        contents(bytes(packed))


def test_a_damaged_zip_is_a_bad_file() -> None:
    packed = bytearray(zipped(a=bytes(range(256)) * 100))
    packed[100] ^= 255
    with pytest.raises(BadFile, match="damaged zip"):
        contents(bytes(packed))


def test_a_file_of_ever_more_bytes_is_refused() -> None:
    limits = UnpackLimits(max_bytes=100_000)
    with pytest.raises(BadFile, match="more than 100000 bytes"):
        contents(gzip.compress(bytes(200_000)), limits)
    with pytest.raises(BadFile, match="more than 100000 bytes"):
        contents(b" " * 200_000, limits)


@pytest.mark.parametrize(
    "pack", [gzip.compress, lambda data: zipped(a=data), lambda data: gzip.compress(gzip.compress(data))]
)
def test_a_bomb_is_refused_before_it_has_unpacked(pack: Callable[[bytes], bytes]) -> None:
    limits = UnpackLimits(max_ratio=50, always_bytes=1_000_000)
    seen = 0
    with pytest.raises(BadFile, match="50 times"):  # noqa: PT012 - how far it came matters
        for member in unpacked_members(pack(bytes(20_000_000)), limits):
            for chunk in member.chunks:
                seen += len(chunk)
    assert seen < 2_000_000


def test_packings_within_packings_end_somewhere() -> None:
    data = A
    for _ in range(4):
        data = gzip.compress(data)
    with pytest.raises(BadFile, match="packed more than 3 times"):
        contents(data)
