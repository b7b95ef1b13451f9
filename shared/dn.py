"""Distinguished names as text: 3GPP TS 32.300 clause 7, and RFC 2253 on which it is built."""

import re
from collections import Counter

_RDN = re.compile(r'([^=,\\"]+)= *+(?:"((?:[^"\\]|\\.)*+)" *+|((?!")(?:[^,\\]|\\.)*+))(,|\Z)', re.DOTALL)
_ESCAPED = re.compile(r"((?:\\[0-9A-Fa-f]{2})+)|\\(.|\Z)", re.DOTALL)


def split(dn: str) -> dict[str, str]:
    r"""The components, from the root on: class -> value without its escapes; empty when the text is no such name.

    Blanks beside `,` and `=` do not count. A class that comes again gets a number, so that no value is lost.

    >>> split(r"SubNetwork=A, SubNetwork=B,ManagedElement=ENB\,1")
    {'SubNetwork': 'A', 'SubNetwork_2': 'B', 'ManagedElement': 'ENB,1'}
    """
    found: dict[str, str] = {}
    times: Counter[str] = Counter()
    at, more = 0, ","
    while more:
        rdn = _RDN.match(dn, at)
        kind = rdn[1].strip(" ") if rdn else ""
        if not rdn or not kind:
            return {}
        name = kind
        while name in found:
            times[kind] += 1
            name = f"{kind}_{times[kind] + 1}"
        try:
            found[name] = _ESCAPED.sub(_plain, rdn[2] if rdn[3] is None else rdn[3].strip(" "))
        except UnicodeDecodeError:
            return {}
        at, more = rdn.end(), rdn[4]
    return found


def _plain(escaped: re.Match[str]) -> str:
    """Bytes of UTF-8 as hexadecimal pairs, or one character; a value that was stripped may end in an escaped blank."""
    pairs: str | None = escaped[1]
    return bytes.fromhex(pairs.replace("\\", "")).decode() if pairs else escaped[2] or " "
