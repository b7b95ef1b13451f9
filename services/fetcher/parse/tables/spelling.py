"""Converts the spelling of times, periods and numbers in tables to that of XML; leaves what it does not recognise."""

import re
from datetime import datetime
from functools import lru_cache

from services.fetcher.parse.tables.profile import Profile
from services.fetcher.parse.values.period import STANDARD, SUMMER

_PERIOD = re.compile(r"(\d{1,6})(?:\.0*)?\s*([a-z]?)[a-z()]*", re.IGNORECASE)
_UNITS = {"s": "PT{}S", "m": "PT{}M", "h": "PT{}H", "d": "P{}D"}
_ZONE = re.compile(r"(?:Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)$", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"\s*([+-]?(?:\d+|\d{1,3}(?:\.\d{3})+)),(\d+(?:[eE][+-]?\d+)?)\s*", re.ASCII)
_THOUSANDS = re.compile(r"\s*[+-]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?\s*", re.ASCII)
_PAIR = re.compile(r"\s*[+-]?\d+,\d+\s*", re.ASCII)


def time(text: str, profile: Profile) -> str:
    """Returns a time in ISO 8601 by the first of the profile's formats that fits; adds the profile's zone if needed.

    A time without a zone gets a mark if it says that it is in summer time, or does not say so in files that would.
    """
    bare = _without_mark(text)
    unmarked = STANDARD if bare and profile.marks_summer_time else ""
    mark = SUMMER if bare != text else unmarked
    for form in profile.time_format if bare else ():
        try:
            bare = datetime.strptime(bare, form).isoformat()  # noqa: DTZ007 - zone below
            break
        except ValueError:
            continue
    if not bare or _ZONE.search(bare, 10):
        return bare
    return bare + (profile.zone or mark)


def _without_mark(text: str) -> str:
    """Returns a time without the word that says that it is in summer time.

    >>> _without_mark("2020-05-18 16:15 DST"), _without_mark("2020-05-18 16:15(dst)"), _without_mark("2020-05-18 16:15")
    ('2020-05-18 16:15', '2020-05-18 16:15', '2020-05-18 16:15')
    """
    bare = text.removesuffix(")")
    if not bare.upper().endswith("DST"):
        return text
    return bare[:-3].removesuffix("(").rstrip()


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


def number(text: str) -> str:
    """Replaces the decimal comma of a number by a point, and removes points between thousands.

    >>> number("12,5"), number("1.234,5"), number("1,2,3")
    ('12.5', '1234.5', '1,2,3')
    """
    found = _DECIMAL_COMMA.fullmatch(text)
    return f"{found[1].replace('.', '')}.{found[2]}" if found else text


def bare_number(text: str) -> str:
    """Removes the commas between the thousands of a number."""
    return text.replace(",", "") if _THOUSANDS.fullmatch(text) else text


def is_ambiguous(text: str, *, has_decimal_point: bool) -> bool:
    """Returns True if a text with commas may be a number or a vector.

    >>> [is_ambiguous(text, has_decimal_point=False) for text in ("1,234", "12,5", "1,2,3", "up,down")]
    [True, True, False, False]
    """
    return bool(_THOUSANDS.fullmatch(text) or (not has_decimal_point and _PAIR.fullmatch(text)))
