"""Derives names of elements and measurement groups where the file does not state them."""

import re

_LAST_RDN = re.compile(r"(?:.*[^\\])?,", re.DOTALL)
"""Matches up to the last comma that is not escaped."""


def joined(*parts: str) -> str:
    """Joins the parts that are not empty to a distinguished name."""
    return ",".join(part for part in parts if part)


def class_of(dn: str) -> str:
    """Returns the class of the last component of a distinguished name; empty if it has none.

    >>> class_of("RncFunction=RF-1,UtranCell=Gbg-997")
    'UtranCell'
    """
    before = _LAST_RDN.match(dn)
    name, equals, _ = dn[before.end() if before else 0 :].partition("=")
    return name.strip() if equals else ""


def derived_group(measinfo_id: str, first_object: str, element: str) -> str:
    """Returns the measInfoId, or else the class of the measured object or of the element."""
    return measinfo_id or class_of(first_object) or class_of(element) or "ManagedElement"
