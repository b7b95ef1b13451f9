"""Converts texts of values to JSON: numbers exactly, missing tokens to null, vectors to arrays, the rest to text."""

import re
from math import isinf

import orjson

from services.fetcher.parse.values.memo import Memo

NULL = "null"
BLANKS = " \t\r\n"
MISSING = frozenset(("", "nil", "null", "nan", "-", "n/a"))
"""Tokens that files hold in place of a missing value, in lower case."""

_NUMBER = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?([eE][+-]?[0-9]+)?")
_SAFE_DIGITS = 18
"""Any integer of this many digits fits into 64 bits."""
_MIN_INT, _MAX_INT = -(2**63), 2**64 - 1
"""The integers of 64 bits, signed or unsigned, which JSON readers hold exactly."""

_AS_DIGIT = bytes.maketrans(b"0123456789", b"0" * 10)
_LONG = b"0" * (_SAFE_DIGITS + 1)
_MORE_THAN_NUMBERS = tuple('"tf{eE \t\r')
"""Characters without which valid JSON can only consist of plain numbers, null and arrays."""


def json_string(text: str) -> str:
    """Returns the text as a JSON string."""
    return orjson.dumps(text).decode()


def cell(text: str) -> str:
    """Returns one value of the file as JSON.

    A text with commas is a vector if any of its elements is a number, and missing if all elements are blank.

    >>> cell("007"), cell("1,2,,3"), cell(" n/a "), cell("up,down")
    ('7', '[1,2,null,3]', 'null', '"up,down"')
    """
    if "," not in text:
        return _scalar(text.strip(BLANKS))
    if "n" not in text and are_numbers(text, text.count(",") + 1):
        return f"[{text}]"
    text = text.strip(BLANKS)
    elements = [_scalar(element.strip(BLANKS)) for element in text.split(",")]
    if all(element == NULL for element in elements):
        return NULL
    if all(element[0] in '"n' for element in elements):
        return json_string(text)
    return f"[{','.join(elements)}]"


CELLS = Memo(cell)


def _scalar(text: str) -> str:
    if text.isdecimal() and text.isascii() and len(text) <= _SAFE_DIGITS and (text[0] != "0" or text == "0"):
        return text
    if text.lower() in MISSING:
        return NULL
    number = _NUMBER.fullmatch(text)
    return _number(number, text) if number and (number[2] or number[3]) else json_string(text)


def _number(number: re.Match[str], text: str) -> str:
    """Rewrites numbers that are not valid JSON ("007", "+5", ".5", "5."); numbers that no reader can hold are text."""
    sign, digits, fraction, exponent = number.groups("")
    whole = ("-" if sign == "-" else "") + (digits.lstrip("0") or "0")
    if not fraction and not exponent:
        fits = len(whole) <= _SAFE_DIGITS or (len(whole) <= _SAFE_DIGITS + 2 and _MIN_INT <= int(whole) <= _MAX_INT)
        return whole if fits else json_string(text)
    written = whole + (f".{fraction}" if fraction else "") + exponent
    return json_string(text) if isinf(float(written)) else written


def are_numbers(texts: str, count: int) -> bool:
    """Returns True if the texts, separated by commas or line ends, are exactly `count` JSON numbers or nulls.

    This proves that readers can hold the numbers, that no text contains a comma or a line end itself, and that none
    contains a character with a meaning in XML.
    """
    if "[" in texts or not _may_be_numbers(texts):
        return False
    try:
        values = orjson.loads("[" + texts.replace("\n", ",") + "]")  # the readers' own grammar
    except orjson.JSONDecodeError:
        return False
    return len(values) == count


def are_rows(lines: str, width: int, height: int) -> bool:
    """Proves the same as `are_numbers` for `height` lines of `width` cells, where a cell may also be an array.

    The caller guarantees that no text contains a bracket itself.
    """
    if not _may_be_numbers(lines):
        return False
    try:
        rows = orjson.loads("[[" + lines.replace("\n", "],[") + "]]")
    except orjson.JSONDecodeError:
        return False
    return len(rows) == height and set(map(len, rows)) == {width}


def _may_be_numbers(texts: str) -> bool:
    if any(character in texts for character in _MORE_THAN_NUMBERS) or not texts.isascii():
        return False
    return _LONG not in texts.encode().translate(_AS_DIGIT)
