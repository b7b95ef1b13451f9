"""Names of elements and measurement groups where the file does not say them outright."""

import re

_LAST_RDN = re.compile(r"(?:.*[^\\])?,", re.DOTALL)
"""Up to the last comma that is not escaped."""


def joined(*parts: str) -> str:
    """A distinguished name of the parts that are there."""
    return ",".join(part for part in parts if part)


def class_of(dn: str) -> str:
    """The class of the last component: "UtranCell" of "RncFunction=RF-1,UtranCell=Gbg-997"; nothing without one."""
    before = _LAST_RDN.match(dn)
    name, equals, _ = dn[before.end() if before else 0 :].partition("=")
    return name.strip() if equals else ""


def group_of(group: str, first_object: str, element: str) -> str:
    """The measurement group: measInfoId, else the class of what is measured."""
    return group or class_of(first_object) or class_of(element) or "ManagedElement"
