"""The text of a value as it becomes JSON: numbers exact, missing tokens null, vectors arrays, the rest text."""

import re
from math import isinf

import orjson

from services.fetcher.parse.values.memo import Memo

NULL = "null"
BLANKS = " \t\r\n"
MISSING = frozenset(("", "nil", "null", "nan", "-", "n/a"))
"""What writers put where there is no value, in any case of letters."""

_NUMBER = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?([eE][+-]?[0-9]+)?")
_SAFE_DIGITS = 18
"""Any integer of so many digits fits 64 bits."""
_MIN_INT, _MAX_INT = -(2**63), 2**63 - 1

_AS_DIGIT = bytes.maketrans(b"0123456789", b"0" * 10)
_LONG = b"0" * (_SAFE_DIGITS + 1)
_MORE_THAN_NUMBERS = tuple('"tf{eE \t\r')
"""Without these, nothing is JSON but numbers, null and arrays: no text, no exponents, no white space."""


def quoted(text: str) -> str:
    """A JSON string."""
    return orjson.dumps(text).decode()


def cell(text: str) -> str:
    """One value of the file as JSON.

    A text with commas is a vector when any of its elements is a number ("1,2,,3"), missing when all are blank.
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
        return quoted(text)
    return f"[{','.join(elements)}]"


CELLS = Memo(cell)


def _scalar(text: str) -> str:
    if text.isdecimal() and text.isascii() and len(text) <= _SAFE_DIGITS and (text[0] != "0" or text == "0"):
        return text
    if text.lower() in MISSING:
        return NULL
    number = _NUMBER.fullmatch(text)
    return _number(number, text) if number and (number[2] or number[3]) else quoted(text)


def _number(number: re.Match[str], text: str) -> str:
    """What JSON's grammar lacks ("007", "+5", ".5", "5.") is brought to it; what no reader can hold is text."""
    sign, digits, fraction, exponent = number.groups("")
    whole = ("-" if sign == "-" else "") + (digits.lstrip("0") or "0")
    if not fraction and not exponent:
        fits = len(whole) <= _SAFE_DIGITS or (len(whole) <= _SAFE_DIGITS + 2 and _MIN_INT <= int(whole) <= _MAX_INT)
        return whole if fits else quoted(text)
    written = whole + (f".{fraction}" if fraction else "") + exponent
    return quoted(text) if isinf(float(written)) else written


def are_numbers(texts: str, count: int) -> bool:
    """Whether the texts, with commas or line ends between them, are so many JSON numbers or nulls, which readers hold.

    So no text can hold a comma or a line end itself, or anything that means something in XML.
    """
    if "[" in texts or not _may_be_numbers(texts):
        return False
    try:
        values = orjson.loads("[" + texts.replace("\n", ",") + "]")  # the readers' own grammar
    except orjson.JSONDecodeError:
        return False
    return len(values) == count


def are_rows(lines: str, width: int, height: int) -> bool:
    """The same of so many lines of so many cells; a cell may be an array, whose brackets no text holds."""
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
