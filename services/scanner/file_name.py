"""The file names of 3GPP TS 32.432 clause 5.1.2: type, begin and end of the period, unique id. Pure."""

import re

_ZONE = r"(?:[+\-_]\d{4})?"
_NAME = re.compile(
    rf"[A-D]\d{{8}}\.\d{{4}}{_ZONE}-(?:\d{{8}}\.)?\d{{4}}{_ZONE}"
    r"(?:_-[^_]*)?"  # jobId
    r"_(?P<unique_id>.+?)"
    r"(?:_-_\d+)?"  # running count
    r"(?:\.(?:xml|csv|asn1|txt))?(?:\.(?:gz|zip|tar|tgz))*",
    re.IGNORECASE,
)


def element_of(name: bytes, otherwise: str) -> str:
    """The managed element a file is from, by its name; `otherwise` when the name does not tell.

    >>> element_of(b"A20230515.0700_0100-0715_0100_GNODEB-0.xml", "host-1")
    'GNODEB-0'
    """
    found = _NAME.fullmatch(name.decode("ascii", errors="replace"))
    return found["unique_id"] if found else otherwise
