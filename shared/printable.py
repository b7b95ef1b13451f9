"""Makes text from files, elements, messages and databases harmless for a terminal, a log and a table."""

from unicodedata import category


def printable(text: str) -> str:
    r"""Returns text in which whatever is not a visible character is escaped.

    Such characters end a line, control the terminal, or change the order of the text on the screen. Spaces of all
    widths stay.

    >>> printable("a\x1b[2J\n\u202e")
    'a\\x1b[2J\\n\\u202e'
    """
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or category(one) == "Zs" else one.encode("unicode_escape").decode() for one in text
    )
