"""Splits names of measured objects: distinguished names (3GPP TS 32.300 clause 7, RFC 2253) and Nokia's form."""

import re
from collections import Counter
from collections.abc import Iterator

_RDN = re.compile(r'([^=,\\"]+)= *+(?:"((?:[^"\\]|\\.)*+)" *+|((?!")(?:[^,\\]|\\.)*+))(,|\Z)', re.DOTALL)
_ESCAPED = re.compile(r"((?:\\[0-9A-Fa-f]{2})+)|\\(.|\Z)", re.DOTALL)
_MO = re.compile(r"([A-Za-z][\w-]*)-(\w+)", re.ASCII)


def dn_components(dn: str) -> dict[str, str]:
    r"""Returns the components, root first: class -> value with escapes resolved; empty if the text is not such a name.

    Spaces next to `,` and `=` are ignored. A class that occurs again gets a number, so that no value is lost.

    >>> dn_components(r"SubNetwork=A, SubNetwork=B,ManagedElement=ENB\,1")
    {'SubNetwork': 'A', 'SubNetwork_2': 'B', 'ManagedElement': 'ENB,1'}
    >>> dn_components("PLMN-PLMN/MRBTS-20/LNBTS-20")
    {'PLMN': 'PLMN', 'MRBTS': '20', 'LNBTS': '20'}
    """
    found: dict[str, str] = {}
    times: Counter[str] = Counter()
    try:
        for kind, value in _slashed(dn) if "=" not in dn and "/" in dn else _components(dn):
            name = kind
            while name in found:
                times[kind] += 1
                name = f"{kind}_{times[kind] + 1}"
            found[name] = value
    except ValueError:
        return {}
    return found


def _components(dn: str) -> Iterator[tuple[str, str]]:
    """Yields class and value of each component.

    Raises:
        ValueError: the text is not a distinguished name.
    """
    at, more = 0, ","
    while more:
        rdn = _RDN.match(dn, at)
        kind = rdn[1].strip(" ") if rdn else ""
        if not rdn or not kind:
            raise ValueError(dn)
        yield kind, _ESCAPED.sub(_plain, rdn[2] if rdn[3] is None else rdn[3].strip(" "))
        at, more = rdn.end(), rdn[4]


def _slashed(name: str) -> Iterator[tuple[str, str]]:
    """Yields class and value from Nokia's form CLASS-ID/CLASS-ID; a comma separates the dimensions of a measurement.

    Raises:
        ValueError: the text is not such a name.
    """
    for part in re.split("[/,]", name):
        found = _MO.fullmatch(part)
        if not found:
            raise ValueError(name)
        yield found[1], found[2]


def _plain(escaped: re.Match[str]) -> str:
    """Resolves one escape: UTF-8 bytes as hexadecimal pairs, or one character.

    A backslash at the end is an escaped space that was stripped.
    """
    pairs: str | None = escaped[1]
    return bytes.fromhex(pairs.replace("\\", "")).decode() if pairs else escaped[2] or " "
