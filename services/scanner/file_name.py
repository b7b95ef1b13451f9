"""Parses the file names of 3GPP TS 32.432 clause 5.1.2: type, begin and end of the period, unique id. Pure.

<Type><Startdate>.<Starttime>-[<Enddate>.]<Endtime>[_-<jobId>][_<UniqueId>][_-_<RC>]; times may have a zone +hhmm or
-hhmm, or _hhmm if the file system of the element does not allow a plus sign.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo

LONGEST_FILE_NAME = 255
"""Bytes of a file name; no file system allows more."""
EARLIEST, LATEST = datetime(1980, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
"""A period outside is an error of the element, and the name tells no time."""
_ZONE = r"[+\-_]\d{4}"
_PERIOD = re.compile(
    rf"(?P<type>[A-D])(?P<date>\d{{8}})\.(?P<begin>\d{{4}})(?P<begin_zone>{_ZONE})?"
    rf"-(?:(?P<end_date>\d{{8}})\.)?(?P<end>\d{{4}})(?P<end_zone>{_ZONE})?",
    re.IGNORECASE | re.ASCII,
)
_CONTENT, _PACKED = ("xml", "csv", "asn1", "txt"), ("gz", "zip", "tar", "tgz")


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
    text = name.decode("ascii", errors="replace")
    found = _PERIOD.match(text) if len(name) <= LONGEST_FILE_NAME else None
    rest = None if found is None else _job_id_and_count(text[found.end() :])
    if found is None or rest is None:
        return None
    try:
        begin = _time(found["date"], found["begin"], found["begin_zone"], zone)
        end = _time(found["end_date"] or found["date"], found["end"], found["end_zone"] or found["begin_zone"], zone)
        if not found["end_date"] and end <= begin:
            end += timedelta(days=1)  # 23:45-00:00
        job, unique_id, count = rest
        known = begin >= EARLIEST and end < LATEST
        return FileName(found["type"].upper(), begin, end, unique_id, job, count) if known else None
    except (ValueError, OverflowError):
        return None


def _job_id_and_count(rest: str) -> tuple[str, str, int] | None:
    """Splits what follows the period into job, unique id and running count. Takes time in proportion to the length.

    >>> _job_id_and_count("_-job1_NodeB_Id_-_2.xml.gz")
    ('job1', 'NodeB_Id', 2)
    """
    job = ""
    if rest.startswith("_-"):
        end = rest.find("_", 2)
        if end < 0:
            return rest[2:], "", 0
        if end + 1 < len(rest):
            job, rest = rest[2:end], rest[end:]
    ends = _endings(rest)
    if 0 in ends:
        return job, "", ends[0]
    at = min(at for at in ends if at > 1 or not rest) if rest.startswith("_") and len(rest) > 1 else 0
    unique_id = rest[1:at]
    return (job, unique_id, ends[at]) if at and "\n" not in unique_id else None


def _endings(rest: str) -> dict[int, int]:
    """Returns the positions after which a name holds only a running count and suffixes, each with the count."""
    at, ends = len(rest), {len(rest): 0}
    for suffixes in (*(_PACKED for _ in range(rest.count("."))), _CONTENT):
        dot = rest.rfind(".", 0, at)
        if dot >= 0 and rest[dot + 1 : at].lower() in suffixes:
            at = dot
            ends[at] = 0
    count = re.search(r"_-_(\d+)\Z", rest[:at], re.ASCII) if rest[:at][-1:].isdigit() else None
    if count is not None:
        ends[count.start()] = int(count[1])
    return ends


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
