"""Determines granularity periods: reads the time formats of all dialects as seconds since 1970 and a zone offset."""

import re
from calendar import timegm
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from functools import lru_cache

_REST = (
    r"(?:[.,](?P<fraction>\d{1,9}))?[ ]?"
    r"(?:(?P<utc>Z|UTC|GMT)|(?:UTC|GMT)?(?P<sign>[+-])(?P<hours>\d\d):?(?P<minutes>\d\d)?(?::?(?P<seconds>\d\d))?)?"
)
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


@lru_cache(1024)
def time_of(text: str, zone_offset_min: int) -> tuple[int, int]:
    """Returns seconds since 1970 and the zone offset in minutes; `zone_offset_min` applies if the text names no zone.

    Raises:
        ValueError: the text is not a time of any dialect.
    """
    found = next((found for time in _TIMES if (found := time.fullmatch(text.strip()))), None)
    if not found:
        raise ValueError(f"not a time: {text!r}")
    parts = ("year", "month", "day", "hour", "minute", "second")
    year, month, day, hour, minute, second = (int(part or 0) for part in found.group(*parts))
    date(year, month, day)  # timegm would take February 31
    midnight = (hour, minute, second) == (24, 0, 0)
    if minute > 59 or second > 60 or (hour > 23 and not midnight):
        raise ValueError(f"not a time of day: {text!r}")
    rounded_up = round(float(f"0.{found['fraction'] or 0}"))  # 14:59:59.999 is meant to be 15:00
    offset_s = _offset_s(found, zone_offset_min)
    return timegm((year, month, day, hour, minute, second)) + rounded_up - offset_s, offset_s // 60


def _offset_s(found: re.Match[str], zone_offset_min: int) -> int:
    if found["utc"]:
        return 0
    if not found["sign"]:
        return zone_offset_min * 60
    hours, minutes, seconds = (int(part or 0) for part in found.group("hours", "minutes", "seconds"))
    offset_s = hours * 3600 + minutes * 60 + seconds
    return -offset_s if found["sign"] == "-" else offset_s


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
        raise ValueError(f"not a duration: {text!r}")
    if total_s <= 0 or total_s.denominator > 1:
        raise ValueError(f"not a positive whole number of seconds: {text!r}")
    return int(total_s)


def _number(text: str | None) -> Fraction:
    return Fraction((text or "0").replace(",", "."))


def period_of(begin: str, end: str, duration: str, zone_offset_min: int) -> Period:
    """Returns the period from its end if the file gives it, else from begin and duration; never from a clock.

    Raises:
        ValueError: a time or the duration is missing or cannot be read.
    """
    gp_s = duration_s(duration)
    if end or not begin:
        end_s, offset_min = time_of(end, zone_offset_min)
    else:
        begin_s, offset_min = time_of(begin, zone_offset_min)
        end_s = begin_s + gp_s
    return Period(end_s, gp_s, offset_min)
