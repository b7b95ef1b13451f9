"""Makes text from files, elements, messages and databases harmless for a terminal, a log and a table."""

import json
from collections.abc import Callable
from unicodedata import category


def printable(text: str) -> str:
    r"""Returns text in which whatever is not a visible character is escaped.

    Such characters end a line, control the terminal, or change the order of the text on the screen. Spaces of all
    widths stay.

    >>> printable("a\x1b[2J\n\u202e")
    'a\\x1b[2J\\n\\u202e'
    """
    return _escaped(text, lambda one: one.encode("unicode_escape").decode())


def printable_json(line: str) -> str:
    r"""Returns a line of JSON that means the same, in which whatever is not a visible character is escaped.

    >>> printable_json('{"a": "\x9b\u202e"}')
    '{"a": "\\u009b\\u202e"}'
    """
    return _escaped(line, lambda one: json.dumps(one)[1:-1])


def _escaped(text: str, escape: Callable[[str], str]) -> str:
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or category(one) == "Zs" else escape(one) for one in text)
