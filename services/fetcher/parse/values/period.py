"""Determines granularity periods: reads the time formats of all dialects as seconds since 1970 and a zone offset.

A time without a zone is in the element's time zone, by the rules that are in force at the time that is written. At
the change from summer time, an hour comes twice: `02:00 DST` is the first, `02:00 STD` the second, and `02:00` alone
the first. A time in the hour that the change to summer time skips has the offset before the change, or the marked one.
"""

import re
from calendar import monthrange, timegm
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from functools import lru_cache
from zoneinfo import ZoneInfo

_EARLIEST_S, _LATEST_S = timegm((1980, 1, 1, 0, 0, 0)), timegm((2101, 1, 1, 0, 0, 0))
LONGEST_S = 366 * 86_400
"""The longest granularity period."""
_YEARS = "1980-2100"
SUMMER, STANDARD = " DST", " STD"
"""Marks behind a time without a zone: it is in summer time, or in standard time."""
_REST = (
    r"(?:[.,](?P<fraction>\d{1,9}))?[ ]?"
    r"(?:(?P<utc>Z|UTC|GMT)|(?:UTC|GMT)?(?P<sign>[+-])(?P<hours>[01]\d|2[0-3]):?(?P<minutes>[0-5]\d)?(?::?(?P<seconds>[0-5]\d))?)?"
    r"(?P<mark> DST| STD)?"
)
_ABBREVIATED = re.compile(r"\d{12}(?!\d)", re.ASCII)
"""Matches YYYYMMDDhhmm and YYMMDDhhmmss, which cannot be told apart."""
_TIMES = (
    re.compile(
        r"(?P<year>\d{4})(?P<between>[-/.]?)(?P<month>\d\d)(?P=between)(?P<day>\d\d)"
        r"[T ]?(?P<hour>\d\d):?(?P<minute>\d\d)(?::?(?P<second>\d\d))?" + _REST,
        re.ASCII | re.IGNORECASE,
    ),
    re.compile(
        r"(?P<year>\d{4})(?P<between>[-/.])(?P<month>\d\d?)(?P=between)(?P<day>\d\d?)"
        r"[T ] ?(?P<hour>\d\d?):(?P<minute>\d\d)(?::(?P<second>\d\d))?" + _REST,
        re.ASCII | re.IGNORECASE,
    ),
)
"""ISO 8601 with or without separators, and the short form that spreadsheets write, 2020/5/18 9:00."""
_UNIT_S = {"years": 0, "months": 0, "weeks": 604_800, "days": 86_400, "hours": 3_600, "minutes": 60, "seconds": 1}
"""Unit -> its seconds. Years and months have no fixed length, so only 0 of them are accepted."""
_NUMBER = r"\d{1,9}(?:[.,]\d{1,9})?"
_DURATION = re.compile(
    rf"P(?:(?P<years>0+)Y)?(?:(?P<months>0+)M)?(?:(?P<weeks>{_NUMBER})W)?(?:(?P<days>{_NUMBER})D)?"
    rf"(?:T(?:(?P<hours>{_NUMBER})H)?(?:(?P<minutes>{_NUMBER})M)?(?:(?P<seconds>{_NUMBER})S)?)?",
    re.ASCII | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Period:
    """A granularity period: its end, its length, and the zone offset in which the file gives it."""

    end_s: int
    gp_s: int
    end_offset_min: int


def as_written(text: str) -> str:
    """Returns a time without the mark that only pmflow adds."""
    return text.removesuffix(STANDARD)


def _shown(text: str) -> str:
    """Returns the beginning of a text in quotes, for an error."""
    return repr(as_written(text)[:80])


def is_plausible(time_s: int) -> bool:
    """Returns True if a period may end then. Other times come from a clock that was reset, or stand for "no time"."""
    return _EARLIEST_S <= time_s < _LATEST_S


@lru_cache(1024)
def time_of(text: str, zone: str) -> tuple[int, int]:
    """Returns seconds since 1970 and the zone offset in minutes; `zone` applies if the text names no zone.

    Raises:
        ValueError: the text is not a time of any dialect, or outside the years 1980-2100.
    """
    text = text.strip()
    found = next((found for time in _TIMES if (found := time.fullmatch(text))), None)
    if not found or _ABBREVIATED.match(text):
        raise ValueError(f"not a time: {_shown(text)}")
    parts = ("year", "month", "day", "hour", "minute", "second")
    year, month, day, hour, minute, second = (int(part or 0) for part in found.group(*parts))
    midnight = (hour, minute, second) == (24, 0, 0)
    if minute > 59 or second > 60 or (hour > 23 and not midnight):
        raise ValueError(f"not a time of day: {_shown(text)}")
    if not 1979 <= year <= 2101:
        raise ValueError(f"not within the years {_YEARS}: {_shown(text)}")
    if not 1 <= month <= 12 or not 1 <= day <= monthrange(year, month)[1]:
        raise ValueError(f"not a date: {_shown(text)}")
    rounded_up = round(float(f"0.{found['fraction'] or 0}"))  # 14:59:59.999 is meant to be 15:00
    local_s = timegm((year, month, day, hour, minute, second)) + rounded_up
    offset_s = _offset_s(found, local_s, zone)
    if not is_plausible(local_s - offset_s):
        raise ValueError(f"not within the years {_YEARS}: {_shown(text)}")
    return local_s - offset_s, offset_s // 60


def _offset_s(found: re.Match[str], local_s: int, zone: str) -> int:
    if found["utc"]:
        return 0
    if not found["sign"]:
        offsets_s = zone_offsets_s(local_s, zone)
        return {SUMMER: max, STANDARD: min}.get(found["mark"], _first)(offsets_s)
    hours, minutes, seconds = (int(part or 0) for part in found.group("hours", "minutes", "seconds"))
    offset_s = hours * 3600 + minutes * 60 + seconds
    return -offset_s if found["sign"] == "-" else offset_s


def _first(offsets_s: tuple[int, int]) -> int:
    return offsets_s[0]


def zone_offsets_s(local_s: int, zone: str) -> tuple[int, int]:
    """Returns the offsets of a local time, given as if it were UTC: two where it comes twice or never, else one twice.

    The first one is the offset before the change.
    """
    # Calculated from 1970 without a zone, so that no clock and no zone of this machine is asked.
    local = datetime(1970, 1, 1) + timedelta(seconds=local_s)  # noqa: DTZ001
    found = (ZoneInfo(zone).utcoffset(local.replace(fold=fold)) or timedelta() for fold in (0, 1))
    before, after = (int(offset.total_seconds()) for offset in found)
    return before, after


@lru_cache(1024)
def duration_s(text: str) -> int:
    """Returns the seconds of an ISO 8601 duration, or of a plain number of seconds (32.401).

    Raises:
        ValueError: the text is neither, or not a positive whole number of seconds.
    """
    text = text.strip()
    if text.isascii() and text.isdecimal() and len(text) < 9:
        total_s = Fraction(text)
    elif (found := _DURATION.fullmatch(text)) is not None:
        total_s = sum((_number(found[unit]) * unit_s for unit, unit_s in _UNIT_S.items()), Fraction(0))
    else:
        raise ValueError(f"not a duration: {_shown(text)}")
    if total_s <= 0 or total_s.denominator > 1:
        raise ValueError(f"not a positive whole number of seconds: {_shown(text)}")
    if total_s > LONGEST_S:
        raise ValueError(f"longer than {LONGEST_S // 86_400} days: {_shown(text)}")
    return int(total_s)


def _number(text: str | None) -> Fraction:
    return Fraction((text or "0").replace(",", "."))


def period_of(begin: str, end: str, duration: str, zone: str) -> Period:
    """Returns the period from its end if the file gives it, else from begin and duration; never from a clock.

    Without a duration, begin and end give it.

    Raises:
        ValueError: a time or the duration is missing, cannot be read or is out of range.
    """
    if begin and end and not duration:
        end_s, offset_min = time_of(end, zone)
        return Period(end_s, duration_s(str(end_s - time_of(begin, zone)[0])), offset_min)
    gp_s = duration_s(duration)
    if end or not begin:
        end_s, offset_min = time_of(_later(begin, end, gp_s, zone), zone)
        return Period(end_s, gp_s, offset_min)
    begin_s, offset_min = time_of(begin, zone)
    if not is_plausible(begin_s + gp_s):
        raise ValueError(f"not within the years {_YEARS}: {_shown(begin)} and {_shown(duration)}")
    return Period(begin_s + gp_s, gp_s, offset_min)


def _later(begin: str, end: str, gp_s: int, zone: str) -> str:
    """Returns the end; with a mark if it is in the hour that comes twice and only then fits begin and duration."""
    with suppress(ValueError):
        if begin and time_of(end, zone)[0] - gp_s != time_of(begin, zone)[0]:
            later_s = time_of(end + STANDARD, zone)[0] - gp_s
            if later_s in (time_of(begin, zone)[0], time_of(begin + STANDARD, zone)[0]):
                return end + STANDARD
    return end
