"""Mutants of all samples, read as files from an element: `python -m tests.mutants N [seed]`.

Each is read or refused with one of our words (BadFile, Incomplete, Unreachable); any other exception is a defect. Where
a mutant is plain XML, the lane and expat alone must agree.
"""

import gzip
import io
import random
import re
import sys
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from time import process_time

from services.fetcher.assemble.batches import RAW, gather, read_file
from services.fetcher.assemble.result import Origin
from services.fetcher.parse.bad_file import BadFile
from services.fetcher.parse.blocks import read_blocks
from services.fetcher.parse.unpack import Incomplete
from services.fetcher.preprocess.declared import DeclaredType
from services.fetcher.preprocess.dictionary import Dictionary
from services.fetcher.preprocess.steps import STEP_FUNCTIONS, Conversion, Preprocessing
from shared.errors import Unreachable

DATA = Path(__file__).parent / "data"
ORIGIN = Origin(system="5ga", file_id="0123456789abcdef", element="gnb-1", ver=1, zone="Europe/Rome")
_TYPES = ("integer", "number", "text", "vector")
_COUNTERS = (
    "a",
    "b",
    "c",
    "attTCHSeizures",
    "RSRP",
    "50331648",
    "50331649",
    "M1",
    "VS.a",
    "cpu",
    "mem",
    "pmRrcConnEstabAtt",
)
ALL_STEPS = Preprocessing(
    steps=tuple(STEP_FUNCTIONS),
    missing=(b"0", b'"up"'),
    renames={"a": "b", "cpu": "mem"},
    conversions={"k": Conversion("1", Decimal(1000))},
    dictionary=Dictionary(
        by_counter={name: DeclaredType(_TYPES[at % 4], "k" if at % 3 else "") for at, name in enumerate(_COUNTERS)}
    ),
)
_LARGEST = 6000
"""Samples are cut down to about this many bytes by leaving rows and measInfos out."""
_TAG = re.compile(rb"<[^<>]{1,200}>")
_ATTRIBUTE = re.compile(rb"""[\w:]+=(?:"[^"]*"|'[^']*')""")
_REPEATED = re.compile(rb"<(measInfo|mi|PMMOResult|measValue|mv)\b.*?</\1>\s*", re.DOTALL)
_ODD = (
    b"\0", b"\xff", b"\xef\xbb\xbf", b"\x1a", b"<", b">", b"&", b'"', b"'", b",", b";", b"\n", b"\r", b"\t", b" ",
    b"\xd0\xa1", b"\xe4", b"<!--", b"-->", b"<![CDATA[", b"]]>", b"<?xml ", b"?>", b"NIL", b"1,234", b"1, 2", b"a, b",
    b"18446744073709551615", b"1e999", b"-", b"0001-01-01T00:00:00+01:00", b"9999-12-31T23:59:59-05:00", b"PT0S",
    b"260103131500", b"2026-10-25 02:00 DST", b"2026-03-29T02:30:00", b"<ms><msn>X</msn><sf>true</sf>", b"</ms>",
    b"<measTypes>a b</measTypes>", b"<measTypes>a, b c</measTypes>", b"<measType p='1'></measType>", b'"x\n', b"P1Y",
    "小区".encode("gbk"), "Zürich".encode("utf-16"), "\ud7ff\uffff\ufffe".encode(), b"\xed\xa0\x80", b"+99:99",
)  # fmt: skip
"""Bytes that mean something to a reader, or should not be there."""

_TEXTS = (
    b"", b" ", b"0", b"-5", b"007", b"1e5", b"18446744073709551615", b"9" * 40, b"1e999", b"NIL", b"true", b"up",
    b"[1]", b"1,2,,3", b"1, 2", b",", b"1,234", b"a, b", b"a b", b"\xc3\xa9", b"x" * 300, b"&lt;", b"&#65;", b"PT15M",
    b"P1D", b"PT0S", b"0001-01-01T00:00:00+01:00", b"9999-12-31T23:59:59-05:00", b"1970-01-01T00:00:00Z",
    b"2026-10-25T02:30:00",
    b"2026-03-29T02:30:00", b"2026-10-25 02:00 DST", b"260103131500", b"20200518160000Z", b"2026-06-19 00:00",
    b"<!-- x -->", b"<![CDATA[5]]>", b"<?x y?>",
)  # fmt: skip
"""Texts that leave a document well-formed."""

Mutation = Callable[[bytes, random.Random], bytes]


def samples() -> list[bytes]:
    """Returns small documents of all dialects: the samples with fewer rows, and the tables."""
    found = []
    faults = (file for file in (DATA / "faults").iterdir() if file.suffix not in (".md", ".yaml"))
    for file in sorted((DATA / "samples").glob("*.xml*")) + sorted(faults):
        data = file.read_bytes()
        found.append(
            _reduced(gzip.decompress(data) if file.parent.name == "samples" and file.suffix == ".gz" else data)
        )
    return found + [file.read_bytes() for file in sorted((DATA / "tables").iterdir())]


def _reduced(xml: bytes) -> bytes:
    for element in (rb"measInfo|mi|PMMOResult", rb"measValue|mv"):
        parts = list(re.finditer(rb"<(" + element + rb")\b[^>]*>.*?</\1>\s*", xml, re.DOTALL))
        kept = 0
        for part in reversed(parts):
            if len(xml) <= _LARGEST or len(parts) - kept <= 2:
                break
            xml, kept = xml[: part.start()] + xml[part.end() :], kept + 1
    return xml


def _flipped(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8))):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _cut(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] if chance.random() < 0.6 else data[at:]


def _without_part(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + data[at + chance.choice((1, 2, 5, 40, 400)) :]


def _repeated(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    part = data[at : at + chance.choice((1, 5, 40, 400))]
    return data[:at] + part * chance.choice((2, 2, 3)) + data[at + len(part) :]


def _with_odd(data: bytes, chance: random.Random) -> bytes:
    at = chance.choice((0, len(data), chance.randrange(len(data)), chance.randrange(len(data))))
    return data[:at] + chance.choice(_ODD) * chance.choice((1, 1, 1, 3)) + data[at + chance.choice((0, 0, 1, 4)) :]


def _value_replaced(data: bytes, chance: random.Random) -> bytes:
    """Replaces a text between delimiters."""
    texts = list(re.finditer(rb"[^<>,;|\t\n\"]+", data))
    text = chance.choice(texts) if texts else None
    return data[: text.start()] + chance.choice(_ODD) + data[text.end() :] if text else data


def _text_replaced(data: bytes, chance: random.Random) -> bytes:
    """Replaces the text of an element, an attribute or a cell by one that leaves the document well-formed."""
    texts = list(re.finditer(rb"(?<=>)[^<>]*(?=</)|(?<==\")[^\"<>]*(?=\")|(?<=,)[^,\r\n\"]*(?=,)", data))
    text = chance.choice(texts) if texts else None
    return data[: text.start()] + chance.choice(_TEXTS) + data[text.end() :] if text else data


def _element_moved(data: bytes, chance: random.Random) -> bytes:
    """Removes, repeats or moves an element, or a line of a table."""
    elements = list(
        re.finditer(rb"<([\w:]+)(?:\s[^<>]*[^/<>]|)>[^<>]*</\1>|<(measValue|mv|ms|MO)\b.*?</\2>", data, re.DOTALL)
    )
    if len(elements) < 2:
        return _lines_moved(data, chance)
    one, two = chance.sample(elements, 2)
    if chance.random() < 0.5:
        return data[: one.start()] + data[one.end() :]
    return data[: two.end()] + one[0] + data[two.end() :]


def _tag_moved(data: bytes, chance: random.Random) -> bytes:
    """Removes, repeats or exchanges tags."""
    tags = list(_TAG.finditer(data))
    if len(tags) < 2:
        return _lines_moved(data, chance)
    one, two = sorted(chance.sample(tags, 2), key=lambda tag: tag.start())
    match chance.randrange(3):
        case 0:
            return data[: one.start()] + data[one.end() :]
        case 1:
            return data[: two.start()] + one[0] + data[two.start() :]
    return data[: one.start()] + two[0] + data[one.end() : two.start()] + one[0] + data[two.end() :]


def _lines_moved(data: bytes, chance: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    lines.insert(chance.randrange(len(lines)), lines.pop(chance.randrange(len(lines))))
    return b"".join(lines)


def _attributes_swapped(data: bytes, chance: random.Random) -> bytes:
    found = list(_ATTRIBUTE.finditer(data))
    if len(found) < 2:
        return _lines_moved(data, chance)
    one, two = sorted(chance.sample(found, 2), key=lambda attribute: attribute.start())
    return data[: one.start()] + two[0] + data[one.end() : two.start()] + one[0] + data[two.end() :]


def _encoded(data: bytes, chance: random.Random) -> bytes:
    """Writes the text in another encoding, with or without a matching declaration."""
    encoding = chance.choice(
        ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "gbk", "cp1252", "utf-8-sig", "cp037")
    )
    text = data.decode("utf-8", "replace")
    if chance.random() < 0.5:
        text = re.sub(r'encoding="[^"]*"', f'encoding="{encoding}"', text, count=1)
    return text.encode(encoding, "replace")


PLAIN: tuple[Mutation, ...] = (
    _flipped, _cut, _without_part, _repeated, _with_odd, _value_replaced, _tag_moved, _attributes_swapped, _lines_moved,
    _encoded, _text_replaced, _text_replaced, _text_replaced, _text_replaced, _element_moved, _element_moved,
    _element_moved,
)  # fmt: skip


def _gzipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def _zipped(data: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("A.xml", "小区/B.xml.gz"):
            archive.writestr(zipfile.ZipInfo(name), data if name == "A.xml" else _gzipped(data))
    return packed.getvalue()


def _tarred(data: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name in ("A.xml", "pm/" + "B" * 120 + ".xml"):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return packed.getvalue()


PACKINGS = (_gzipped, _zipped, _tarred, lambda data: _gzipped(_tarred(data)), lambda data: _zipped(_zipped(data)))
DAMAGES: tuple[Mutation, ...] = (_flipped, _flipped, _cut, _without_part, _repeated, _with_odd)


@cache
def packed_samples() -> list[bytes]:
    return [pack(sample) for sample in samples() for pack in PACKINGS]


def mutants(number: int, seed: int) -> Iterator[bytes]:
    """Yields mutants of samples; a third of them are damaged archives."""
    chance = random.Random(seed)
    plain, packed = samples(), packed_samples()
    for _ in range(number):
        is_packed = chance.random() < 0.33
        data = chance.choice(packed if is_packed else plain)
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            data = chance.choice(DAMAGES if is_packed else PLAIN)(data, chance) or b"x"
        yield data


def outcome(data: bytes, preprocessing: Preprocessing) -> str:
    """Reads a file. Returns what became of it; any exception that is not planned passes."""
    try:
        parsed = read_file(data, ORIGIN, preprocessing=preprocessing)
    except (BadFile, Incomplete, Unreachable) as error:
        return type(error).__name__
    parsed.close()
    return "set aside in part" if parsed.counts.quarantined else "read" if parsed.counts.values else "no values"


def by(data: bytes, *, fast: bool) -> object:
    """Reads a document by the lane, or by expat alone."""
    try:
        parsed = gather(read_blocks([data], fast=fast), ORIGIN)
    except BadFile as error:
        return type(error)
    return parsed.counts, [batch.value for batch in parsed.batches], [block.detail for block in parsed.quarantined]


Reader = Callable[[bytes, Preprocessing], str]


def check(number: int, seed: int, *, compared: int = 10, read: Reader = outcome) -> Counter[str]:
    """Reads mutants; compares the lane with expat alone on every n-th. Returns the number of each outcome."""
    outcomes: Counter[str] = Counter()
    for at, data in enumerate(mutants(number, seed)):
        try:
            outcomes[read(data, (RAW, ALL_STEPS)[at % 2])] += 1
            differs = at % compared == 0 and by(data, fast=True) != by(data, fast=False)
        except Exception as error:
            raise AssertionError(f"mutant {at} of seed {seed}: {type(error).__name__}: {error}: {data!r}") from error
        if differs:
            raise AssertionError(f"mutant {at} of seed {seed} is read differently by the lane and by expat: {data!r}")
    return outcomes


if __name__ == "__main__":
    wanted, first_seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    began_s, total, step = process_time(), Counter[str](), 5000
    for start in range(0, wanted, step):
        total += check(min(step, wanted - start), first_seed + start // step)
        sys.stdout.write(f"{total.total()} mutants, {process_time() - began_s:.0f} s of CPU: {dict(total)}\n")
        sys.stdout.flush()
