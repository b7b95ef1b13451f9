"""When a granularity period ended: the time formats of the dialects, as seconds since 1970 and the writer's zone."""

import re
from calendar import timegm
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

_TIME = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)[T ]?(\d\d):?(\d\d)(?::?(\d\d)(?:[.,](\d{1,9}))?)?[ ]?"
    r"(?:(Z)|([+-])(\d\d):?(\d\d)?(?::?(\d\d))?)?",
    re.ASCII,
)
_DURATION = re.compile(
    r"P(?:(?P<weeks>\d{1,3})W)?(?:(?P<days>\d{1,4})D)?"
    r"(?:T(?:(?P<hours>\d{1,5})H)?(?:(?P<minutes>\d{1,6})M)?(?:(?P<seconds>\d{1,8})(?:[.,]0+)?S)?)?",
    re.ASCII,
)
_UNIT_S = {"weeks": 604_800, "days": 86_400, "hours": 3_600, "minutes": 60, "seconds": 1}


@dataclass(frozen=True, slots=True)
class Period:
    """A granularity period."""

    end_s: int
    gp_s: int
    end_offset_min: int


@lru_cache(1024)
def time_of(text: str, zone_offset_min: int) -> tuple[int, int]:
    """Seconds since 1970 and the offset in minutes; the given zone holds where the text names none.

    Raises:
        ValueError: not a time of any dialect.
    """
    found = _TIME.fullmatch(text.strip())
    if not found:
        raise ValueError(f"not a time: {text!r}")
    year, month, day, hour, minute, second = (int(part or 0) for part in found.group(1, 2, 3, 4, 5, 6))
    date(year, month, day)  # timegm would take February 31
    midnight = (hour, minute, second) == (24, 0, 0)
    if minute > 59 or second > 60 or (hour > 23 and not midnight):
        raise ValueError(f"not a time of day: {text!r}")
    late = round(float(f"0.{found[7] or 0}"))  # 14:59:59.999 is meant to be 15:00
    offset_s = _offset_s(found, zone_offset_min)
    return timegm((year, month, day, hour, minute, second)) + late - offset_s, offset_s // 60


def _offset_s(found: re.Match[str], zone_offset_min: int) -> int:
    if found[8]:
        return 0
    if not found[9]:
        return zone_offset_min * 60
    hours, minutes, seconds = (int(part or 0) for part in found.group(10, 11, 12))
    offset_s = hours * 3600 + minutes * 60 + seconds
    return -offset_s if found[9] == "-" else offset_s


@lru_cache(1024)
def duration_s(text: str) -> int:
    """Seconds of an ISO 8601 duration, or of a plain number of seconds (32.401).

    Raises:
        ValueError: neither, or no whole positive number of seconds.
    """
    text = text.strip()
    if text.isascii() and text.isdecimal() and len(text) < 9:
        total_s = int(text)
    elif (found := _DURATION.fullmatch(text)) is not None:
        total_s = sum(int(found[unit] or 0) * unit_s for unit, unit_s in _UNIT_S.items())
    else:
        raise ValueError(f"not a duration: {text!r}")
    if total_s <= 0:
        raise ValueError(f"an empty duration: {text!r}")
    return total_s


def period_of(begin: str, end: str, duration: str, zone_offset_min: int) -> Period:
    """From the end where the file tells it, else from begin and duration; never from a clock.

    Raises:
        ValueError: a time or the duration is missing or not understood.
    """
    gp_s = duration_s(duration)
    if end or not begin:
        end_s, offset_min = time_of(end, zone_offset_min)
    else:
        begin_s, offset_min = time_of(begin, zone_offset_min)
        end_s = begin_s + gp_s
    return Period(end_s, gp_s, offset_min)
