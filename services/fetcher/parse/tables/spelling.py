"""How tables spell times, periods and numbers, brought to how XML does; what cannot be is left as it is written."""

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
    """ISO 8601, by the first of the profile's formats that fits; in its zone where it names none."""
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
    """ISO 8601 of "15", "15 Minute(s)", "15min", "900s", "1 hour", "PT15M"."""
    found = _PERIOD.fullmatch(text)
    if not found:
        return text
    return _UNITS.get((found[2] or unit)[:1].lower(), "{}").format(int(found[1]))


@lru_cache(256)
def between(begin: str, end: str) -> str:
    """The time from begin to end; nothing where one is none."""
    if not (begin and end):
        return ""
    try:
        return f"PT{time_of(end, 0)[0] - time_of(begin, 0)[0]}S"
    except ValueError:
        return ""


def number(text: str) -> str:
    """With a decimal point instead of a comma."""
    found = _DECIMAL_COMMA.fullmatch(text)
    return f"{found[1]}.{found[2]}" if found else text
