"""Parses the file names of 3GPP TS 32.432 clause 5.1.2: type, begin and end of the period, unique id. Pure.

<Type><Startdate>.<Starttime>-[<Enddate>.]<Endtime>[_-<jobId>][_<UniqueId>][_-_<RC>]; times may have a zone +hhmm or
-hhmm, or _hhmm if the file system of the element does not allow a plus sign.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo

_ZONE = r"[+\-_]\d{4}"
_NAME = re.compile(
    rf"(?P<type>[A-D])(?P<date>\d{{8}})\.(?P<begin>\d{{4}})(?P<begin_zone>{_ZONE})?"
    rf"-(?:(?P<end_date>\d{{8}})\.)?(?P<end>\d{{4}})(?P<end_zone>{_ZONE})?"
    r"(?:_-(?P<job>[^_]*))?"
    r"(?:_(?P<unique_id>.+?))??"
    r"(?:_-_(?P<count>\d+))?"
    r"(?:\.(?:xml|csv|asn1|txt))?(?:\.(?:gz|zip|tar|tgz))*",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class FileName:
    """The information in a file name, known before the file is fetched."""

    type: str
    """A: one element, one period; B: several periods; C: several elements; D: several of both."""
    begin: datetime
    end: datetime
    unique_id: str
    """Name of the managed element, or empty."""
    job: str = ""
    count: int = 0

    @property
    def end_s(self) -> int:
        """Returns the end of the last period in seconds since 1970 UTC."""
        return int(self.end.timestamp())


def parse_file_name(name: bytes, zone: tzinfo = UTC) -> FileName | None:
    """Returns the parsed name, or None if it does not follow the grammar or contains an invalid date.

    Args:
        name: file name without directory.
        zone: time zone of times that are written without one.
    """
    found = _NAME.fullmatch(name.decode("ascii", errors="replace"))
    if found is None:
        return None
    try:
        begin = _time(found["date"], found["begin"], found["begin_zone"], zone)
        end = _time(found["end_date"] or found["date"], found["end"], found["end_zone"] or found["begin_zone"], zone)
    except ValueError:
        return None
    if not found["end_date"] and end <= begin:
        end += timedelta(days=1)  # 23:45-00:00
    job, unique_id = found["job"] or "", found["unique_id"] or ""
    return FileName(found["type"].upper(), begin, end, unique_id, job, int(found["count"] or 0))


def _time(date: str, time: str, written_zone: str | None, zone: tzinfo) -> datetime:
    """Parses a date and a time. strptime would take longer than everything else that is done with a listed file."""
    if written_zone is not None:
        offset = timedelta(hours=int(written_zone[1:3]), minutes=int(written_zone[3:]))
        zone = timezone(-offset if written_zone[0] == "-" else offset)
    day = int(date[:4]), int(date[4:6]), int(date[6:])
    return datetime(*day, int(time[:2]), int(time[2:]), tzinfo=zone)


def element_of(name: bytes, otherwise: str) -> str:
    """Returns the managed element named in a file name, or `otherwise` if the name does not contain one.

    >>> element_of(b"A20230515.0700_0100-0715_0100_GNODEB-0.xml", "host-1")
    'GNODEB-0'
    """
    found = parse_file_name(name)
    return found.unique_id if found and found.unique_id else otherwise
