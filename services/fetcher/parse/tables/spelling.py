"""Converts the spelling of times, periods and numbers in tables to that of XML; leaves what it does not recognise."""

import re
from datetime import datetime
from functools import lru_cache

from services.fetcher.parse.tables.profile import Profile
from services.fetcher.parse.values.period import time_of

_PERIOD = re.compile(r"(\d{1,6})(?:\.0*)?\s*([a-z]?)[a-z()]*", re.IGNORECASE)
_UNITS = {"s": "PT{}S", "m": "PT{}M", "h": "PT{}H", "d": "P{}D"}
_SUMMER_TIME = re.compile(r"\s*\(?DST\)?$")
_ZONE = re.compile(r"(?:Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)$", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"\s*([+-]?\d+),(\d+(?:[eE][+-]?\d+)?)\s*", re.ASCII)


def time(text: str, profile: Profile) -> str:
    """Returns a time in ISO 8601 by the first of the profile's formats that fits; adds the profile's zone if needed."""
    text = _SUMMER_TIME.sub("", text)
    for form in profile.time_format if text else ():
        try:
            text = datetime.strptime(text, form).isoformat()  # noqa: DTZ007 - zone below
            break
        except ValueError:
            continue
    return text + profile.zone if text and not _ZONE.search(text, 10) else text


@lru_cache(256)
def duration(text: str, unit: str) -> str:
    """Returns a period in ISO 8601.

    >>> [duration(text, "min") for text in ("15", "15 Minute(s)", "900s", "1 hour", "PT15M")]
    ['PT15M', 'PT15M', 'PT900S', 'PT1H', 'PT15M']
    """
    found = _PERIOD.fullmatch(text)
    if not found:
        return text
    return _UNITS.get((found[2] or unit)[:1].lower(), "{}").format(int(found[1]))


@lru_cache(256)
def between(begin: str, end: str) -> str:
    """Returns the time from begin to end in ISO 8601; empty if one of them is not a time."""
    if not (begin and end):
        return ""
    try:
        return f"PT{time_of(end, 0)[0] - time_of(begin, 0)[0]}S"
    except ValueError:
        return ""


def number(text: str) -> str:
    """Replaces the decimal comma of a number by a point."""
    found = _DECIMAL_COMMA.fullmatch(text)
    return f"{found[1]}.{found[2]}" if found else text
