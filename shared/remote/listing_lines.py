"""Parsers of the lines in which servers list files: MLSD facts (RFC 3659), and LIST in Unix and DOS form. Pure.

A fact that is missing or makes no sense is None: the session asks for it by another command, or names what is missing.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Literal

LAST_MTIME_S = 4_102_444_800
"""The year 2100: a later time is an error of the server."""
LONGEST_LINE = 1 << 14
_TOKENS = 14
"""Words of a line of LIST that are examined; its name begins among them."""
Kind = Literal["file", "directory", "other", "unknown", "unreadable"]


@dataclass(frozen=True, slots=True)
class Line:
    """One entry as a server lists it."""

    name: bytes
    kind: Kind = "unknown"
    size: int | None = None
    mtime_s: int | None = None

    @property
    def complete(self) -> bool:
        """No other command needs to be asked about it."""
        whole = self.size is not None and self.mtime_s is not None
        return self.kind not in {"file", "unknown"} or (self.kind == "file" and whole)


def mlsd_line(line: bytes) -> Line | None:
    """Returns the entry, or None for the directory itself, its parent, and an empty line.

    >>> mlsd_line(b"type=file;size=5;modify=20261127031501; A.xml")
    Line(name=b'A.xml', kind='file', size=5, mtime_s=1795749301)
    """
    line = line.rstrip(b"\r\n")
    facts, _, name = line.partition(b" ")
    if facts and b"=" not in facts:
        facts, name = b"", line  # a server that knows no facts
    known = dict(_fact(part) for part in facts.split(b";") if part)
    kind = known.get(b"type", b"").lower()
    if not name or kind in {b"cdir", b"pdir"} or name in {b".", b".."}:
        return None
    kinds: dict[bytes, Kind] = {b"": "unknown", b"file": "file", b"dir": "directory"}
    return Line(
        name, kinds.get(kind, "other"), byte_count(known.get(b"size", b"")), rfc3659_time_s(known.get(b"modify", b""))
    )


def _fact(part: bytes) -> tuple[bytes, bytes]:
    name, _, value = part.partition(b"=")
    return name.strip().lower(), value.strip()


def byte_count(text: bytes) -> int | None:
    """Returns a number of bytes; None where the text is none that a file can have.

    >>> byte_count(b"1,234"), byte_count(b"-1"), byte_count(b"18446744073709551615")
    (1234, None, None)
    """
    digits = text.strip().replace(b",", b"")
    if not digits.isdigit() or len(digits) > 20:
        return None
    size = int(digits)
    return size if size < 1 << 63 else None


def rfc3659_time_s(text: bytes) -> int | None:
    """Returns the seconds since 1970 of a time of RFC 3659 (YYYYMMDDhhmmss[.sss], UTC); None where it is none.

    Servers that print 19 and the years since 1900 are understood:

    >>> [rfc3659_time_s(text) for text in (b"20261127031501.25", b"191261127031501", b"00000000000000", b"Nov 27")]
    [1795749301, 1795749301, None, None]
    """
    found = re.match(rb"\s*(191\d\d|\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(?!\d)", text)
    if found is None:
        return None
    year, *rest = (int(digits) for digits in found.groups())
    return _seconds((year - 19_100 + 2000 if year > 9999 else year, *rest), UTC)


def _seconds(parts: Sequence[int], zone: tzinfo) -> int | None:
    """Returns the seconds since 1970 of year, month, day, hour, minute, second; None where there is no such time."""
    year, month, day, hour, minute, second = (*parts, 0, 0, 0)[:6]
    try:
        at_s = int(datetime(year, month, day, hour, minute, min(second, 59), tzinfo=zone).timestamp())
    except (ValueError, OverflowError):
        return None
    return at_s if 0 <= at_s < LAST_MTIME_S else None


def list_line(line: bytes, now_s: float, zone: tzinfo = UTC) -> Line | None:
    """Returns the entry of a line of LIST, or None for a line that lists nothing (empty, or a total).

    Args:
        line: in Unix or DOS form; another has the kind `unreadable`.
        now_s: times without a year are of the last twelve months.
        zone: of the server's clock; LIST names none.
    """
    line = line.rstrip(b"\r\n")
    tokens = _tokens(line)
    if not tokens or (len(tokens) == 2 and tokens[0].text.lower().startswith(b"tot") and tokens[1].text.isdigit()):
        return None
    if len(line) <= LONGEST_LINE:
        found = _unix(line, tokens, now_s, zone) or _dos(line, tokens, zone)
        if found is not None:
            return None if found.name in {b".", b".."} else found
    return Line(line[:255], "unreadable")


@dataclass(frozen=True, slots=True)
class _Token:
    text: bytes
    end: int


def _tokens(line: bytes) -> list[_Token]:
    found = []
    for match in re.finditer(rb"[^ \t]+", line[:LONGEST_LINE]):
        found.append(_Token(match[0], match.end()))
        if len(found) == _TOKENS:
            break
    return found


_UNIX_KINDS: dict[bytes, Kind] = {b"-": "file", b"d": "directory"}


def _unix(line: bytes, tokens: Sequence[_Token], now_s: float, zone: tzinfo) -> Line | None:
    """`-rw-r--r-- 1 owner group 1234 Nov 27 03:15 name`: the size is the number in front of the first date."""
    if not re.match(rb"[-a-zA-Z?](?:[-rwxsStTlL?]{9}|$)", tokens[0].text):
        return None
    for at in range(1, len(tokens) - 1):
        if (size := byte_count(tokens[at].text)) is None and not re.fullmatch(rb"-?\d+", tokens[at].text):
            continue
        for date in _dates([token.text for token in tokens[at + 1 : at + 5]], now_s, zone):
            name = line[tokens[at + date.tokens].end + 1 :]
            if not name:
                continue
            kind = _UNIX_KINDS.get(tokens[0].text[:1], "other")
            return Line(name if kind != "other" else name.partition(b" -> ")[0], kind, size, date.at_s)
    return None


@dataclass(frozen=True, slots=True)
class _Date:
    tokens: int
    at_s: int | None


_MONTHS = {
    name.encode(): month
    for month, names in enumerate(
        (
            "jan ene gen janv jän", "feb fév févr fev", "mar mär mrz mars", "apr avr abr avril", "may mai mag",
            "jun juin giu juni", "jul juil lug juli", "aug août ago aoû", "sep sept set", "oct okt ott out",
            "nov", "dec dez dic déc",
        ),
        1,
    )
    for name in names.split()
}  # fmt: skip


def _month(text: bytes) -> int:
    """Returns the number of a month by its name in the usual languages, 0 where it is none."""
    chinese = re.fullmatch(rb"(\d{1,2})(?:\xe6\x9c\x88|\xd4\xc2)", text)
    return int(chinese[1]) if chinese else _MONTHS.get(text.lower().rstrip(b"."), 0)


def _dates(texts: Sequence[bytes], now_s: float, zone: tzinfo) -> Iterator[_Date]:
    """Yields the dates that these words may begin with, the likeliest first."""
    first, second, third, fourth = (*texts, b"", b"", b"", b"")[:4]
    for month, day in ((_month(first), second), (_month(second), first)):
        if month and re.fullmatch(rb"\d{1,2}\.?", day):
            yield from _of_the_year((month, int(day.rstrip(b"."))), (third, fourth), now_s, zone)
    clock = _clock(second)
    if date := _numeric(first):
        if clock:
            used = 3 if re.fullmatch(rb"[+-]\d{4}", third) else 2
            offset = timedelta(hours=int(third[:3]), minutes=int(third[:1] + third[3:])) if used == 3 else None
            at_s = _seconds((*date, *clock), UTC if offset is not None else zone)
            yield _Date(used, at_s if at_s is None or offset is None else at_s - int(offset.total_seconds()))
        yield _Date(1, _seconds(date, zone))
    elif clock and (short := re.fullmatch(rb"(\d\d)[-/](\d\d)", first)):
        yield _Date(2, _recent((int(short[1]), int(short[2])), clock, now_s, zone))


def _of_the_year(day: tuple[int, int], rest: tuple[bytes, bytes], now_s: float, zone: tzinfo) -> Iterator[_Date]:
    """Yields the date of a month and day, followed by a year, a time of the last twelve months, or both."""
    third, fourth = rest
    if clock := _clock(third):
        if len(clock) == 3 and re.fullmatch(rb"(?:19|20)\d\d", fourth):
            yield _Date(4, _seconds((int(fourth), *day, *clock), zone))
        yield _Date(3, _recent(day, clock, now_s, zone))
    elif re.fullmatch(rb"\d{4,5}", third):
        yield _Date(3, _seconds((int(third), *day), zone))


def _recent(day: tuple[int, int], clock: Sequence[int], now_s: float, zone: tzinfo) -> int | None:
    """Returns the latest such time that is at most a day ahead (clocks differ)."""
    this_year = datetime.fromtimestamp(now_s, zone).year
    for year in range(this_year + 1, this_year - 5, -1):  # 29 February comes every fourth year
        at_s = _seconds((year, *day, *clock), zone)
        if at_s is not None and at_s <= now_s + 86_400:
            return at_s
    return None


def _clock(text: bytes) -> tuple[int, ...]:
    """Returns hour, minute and, where it is told, second; nothing where the text is no time of a day."""
    found = re.fullmatch(rb"(\d{1,2}):(\d\d)(?::(\d\d)(?:\.\d+)?)?([AaPp])?[Mm]?", text)
    if found is None:
        return ()
    hour = int(found[1])
    if found[4]:
        hour = hour % 12 + (12 if found[4] in b"pP" else 0)
    return (hour, int(found[2])) if found[3] is None else (hour, int(found[2]), int(found[3]))


def _numeric(text: bytes) -> tuple[int, int, int] | None:
    """Returns year, month and day of 2026-11-27, 2026/11/27, 11-27-26, 11/27/2026 or 27.11.2026."""
    if found := re.fullmatch(rb"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})", text):
        return int(found[1]), int(found[2]), int(found[3])
    if not (found := re.fullmatch(rb"(\d{1,2})([-/.])(\d{1,2})[-/.](\d{4}|\d\d)", text)):
        return None
    month, day, year = int(found[1]), int(found[3]), int(found[4])
    if month > 12 or found[2] == b".":
        month, day = day, month
    return year + (0 if year > 99 else 2000 if year < 70 else 1900), month, day


def _dos(line: bytes, tokens: Sequence[_Token], zone: tzinfo) -> Line | None:
    """`11-27-26  03:15AM  1234 name`, or <DIR> instead of the size."""
    texts = [token.text for token in tokens]
    if len(texts) < 4 or (date := _numeric(texts[0])) is None or not (clock := _clock(texts[1])):
        return None
    at = 3 if texts[2].lower() in {b"am", b"pm"} and len(texts) > 4 else 2
    if at == 3:
        clock = _clock(texts[1] + texts[2]) or clock
    name = line[tokens[at].end + 1 :]
    if re.fullmatch(rb"<[A-Za-z]+>", texts[at]):
        return Line(name.lstrip(), "directory" if texts[at].upper() == b"<DIR>" else "other")
    size = byte_count(texts[at])
    return Line(name, "file", size, _seconds((*date, *clock), zone)) if size is not None and name else None
