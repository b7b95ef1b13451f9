"""The messages that travel between the services: frozen records, strict about what they know, tolerant of the rest.

Keep them flat (plain types only). A new field gets a default; a changed meaning is a new topic.
"""

from dataclasses import asdict, dataclass, field, fields
from functools import cache
from hashlib import blake2b
from typing import Any, ClassVar, Literal, Self, cast, get_origin
from urllib.parse import quote_from_bytes, unquote_to_bytes
from zlib import crc32

import orjson

Stage = Literal["found", "fetching", "postponed", "parsed", "failed", "done", "error", "lost"]
"""What became of a file.

found      announced; waits for a fetcher until its lease ends
fetching   a fetcher is about to download it; its lease goes on
postponed  the element did not answer: the next scan announces it again
parsed     all its batches are in the topic; waiting for the sinks
failed     cannot be read, for the reason given; waiting to be moved to error/
done       every required sink has it, and it lies in done/
error      it lies in error/ with the reason beside it
lost       it vanished from the element before it was fetched
"""

PARTITIONS = 12
"""Of every topic: a file's messages and the sinks' positions must meet in one partition number.

See docs/decisions/0002-completion-by-offset.md.
"""


class BadMessage(ValueError):  # noqa: N818
    """Bytes that are not the message they should be; keeps them for the dead letters."""

    def __init__(self, reason: str, raw: bytes) -> None:
        super().__init__(reason)
        self.raw = raw


def partition_of(element: str) -> int:
    """The partition of all that concerns an element, the same in every topic."""
    return crc32(element.encode()) % PARTITIONS


def path_text(path: bytes) -> str:
    """A remote path for a message or a log line: any bytes survive, percent-encoded where not plain ASCII."""
    return quote_from_bytes(path, safe="/!#$&'()*+,:;=?@[]~ {}^|`")


def path_bytes(text: str) -> bytes:
    """The remote path that `path_text` wrote."""
    return unquote_to_bytes(text)


def digest_of(content: bytes) -> str:
    """16 hexadecimal digits."""
    return blake2b(content, digest_size=8).hexdigest()


def file_identity(system: str, endpoint: str, path: str, size: int, mtime_s: int) -> str:
    """The same name with other content is another file; 16 hexadecimal digits."""
    known_by = "\0".join((system, endpoint, path, str(size), str(mtime_s)))
    return digest_of(known_by.encode())


def version_of(file_id: str, mtime_s: int) -> int:
    """`ver` of a file's rows: the newer file wins; within one second the identity decides.

    So every two files have an order that depends on nothing but themselves, and both databases end
    with the same values whatever the order of delivery. Fits a signed 64-bit integer until the year 100,000.
    """
    return (mtime_s << 20) | (int(file_id, 16) & 0xFFFFF)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What all messages share: JSON out, a tolerant reader in."""

    kind: ClassVar[str]

    def encode(self) -> bytes:
        return b'{"kind":"%s",%s' % (self.kind.encode(), orjson.dumps(self)[1:])

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """Read what this version knows; ignore fields a newer writer added.

        Raises:
            BadMessage: not JSON, a field is missing or of another type.
        """
        return cls.of(_object(raw), raw)

    @classmethod
    def of(cls, found: dict[str, Any], raw: bytes) -> Self:
        """The record of a JSON object that is read already."""
        if found.get("kind", cls.kind) != cls.kind:
            raise BadMessage(f"a {found['kind']}, not a {cls.kind}", raw)
        types: dict[str, type] = _types(cast("Any", cls))
        try:
            message = cls(**{name: found[name] for name in types if name in found})
        except TypeError as error:
            raise BadMessage(f"not a {cls.__name__}: {error}", raw) from error
        for name, kind in types.items():
            if not isinstance(getattr(message, name), kind):
                raise BadMessage(f"{cls.__name__}.{name} is not {kind.__name__}: {getattr(message, name)!r}", raw)
        return message


@cache
def _types(cls: Any) -> dict[str, type]:
    """Of the fields, without what JSON does not tell."""
    plain: dict[str, Any] = {f.name: str if get_origin(f.type) is Literal else f.type for f in fields(cls)}
    return {name: get_origin(kind) or kind for name, kind in plain.items()}


def _object(raw: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadMessage(f"not JSON: {error}", raw) from error
    if not isinstance(found, dict):
        raise BadMessage("not a JSON object", raw)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class File(Message):
    """What every message on a file says of it."""

    file_id: str
    system: str
    endpoint: str
    """The inventory's name of where to fetch it; one endpoint may serve many elements."""
    element: str
    """The managed element by the file's name (3GPP TS 32.432 clause 5.1.2), else the endpoint; the partition key."""
    path: str
    """Full remote path, see `path_text`."""
    size: int
    mtime_s: int
    epoch: int
    """Fencing epoch of the announcing leader: readers drop lower ones."""
    end_s: int = 0
    """End of its period by its name, seconds since 1970 UTC; 0 when the name does not tell."""
    attempt: int = 1
    """How often it was announced, this time included."""
    found_s: float = 0.0
    """When it was announced first, seconds since 1970 by the scanner's clock; 0: not known."""
    lies_at: str = ""
    """Where it is read, and stays, when it is through already (a backfill); empty: at its path."""

    @property
    def place(self) -> str:
        """Where it lies now."""
        return self.lies_at or self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFound(File):
    """A settled file on an element, announced by the leader of its system."""

    kind: ClassVar[str] = "file-found"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStatus(File):
    """What became of a file; in the compacted topic the newest one is the file's entry in the ledger."""

    kind: ClassVar[str] = "file-status"
    stage: Stage
    at_s: float
    """When this was said, seconds since 1970 by the sayer's clock."""
    reason: str = ""
    topic: str = ""
    partition: int = -1
    last_offset: int = -1
    """Of the file's last batch: a sink whose position is beyond it has the whole file."""
    tries: int = 1
    """To download it, since it was announced last."""
    batches: int = 0
    """Messages in the topic."""
    rows: int = 0
    suspect: int = 0
    """Rows the element flagged as suspect."""
    values: int = 0
    nulls: int = 0
    quarantined: int = 0
    dropped: int = 0
    fetched_s: float = 0.0
    """When it was downloaded whole; 0: it never was."""
    parsed_s: float = 0.0
    """When all its batches were in the topic; kept through later stages, as compaction forgets the earlier ones."""
    stored_s: float = 0.0
    """When every required sink was beyond it."""


def status_of(file: FileFound, stage: Stage, at_s: float, reason: str = "") -> FileStatus:
    """What is to be said of an announced file."""
    return FileStatus(**asdict(file), stage=stage, at_s=at_s, reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkPosition(Message):
    """A sink's durable position: all of the partition before next_offset is stored, or set aside with a reason."""

    kind: ClassVar[str] = "sink-position"
    sink: str
    topic: str
    partition: int
    next_offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside(Message):
    """Some of a message that a sink set aside in the dead letters, told before its position passes."""

    kind: ClassVar[str] = "set-aside"
    sink: str
    topic: str
    partition: int
    offset: int
    file_id: str
    element: str
    values: int
    reason: str
    at_s: float
    content: str
    """`digest_of` what was set aside."""

    @property
    def key(self) -> str:
        """In the ledger; a record without a value there says that it was sent again."""
        return set_aside_key(self.sink, self.file_id, self.content)


def set_aside_key(sink: str, file_id: str, content: str) -> str:
    """The same for a file that was parsed, and set aside, once more."""
    return f"{sink}/{file_id}/{content}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleFigures(Message):
    """What became of the files of one period in one system; a newer message replaces an older one."""

    kind: ClassVar[str] = "cycle-figures"
    system: str
    end_s: int
    """End of the period, seconds since 1970 UTC."""
    told_s: float
    """When these figures were made; the newest ones count."""
    expected: int
    """Entries of the inventory."""
    missing: list[str]
    """Those without any file of this period."""
    elements: int
    """That brought a file; fewer than files when one brought several."""
    found: int
    """Files; each in whatever stage it is now."""
    late: int
    """Announced first after the cycle was closed."""
    fetched: int
    """Downloaded whole."""
    parsed: int
    stored: dict[str, int]
    """Sink -> files that it is beyond."""
    done: int
    error: int
    lost: int
    postponed: int
    quarantined: int
    """Files with values set aside, by the parser or by a sink; their other values landed."""
    bytes: int
    batches: int
    """Messages in the counters topic."""
    rows: int
    suspect: int
    """Of the rows, flagged by their element."""
    values: int
    """In the counters topic."""
    values_stored: dict[str, int]
    """Sink -> without what it set aside."""
    values_set_aside: dict[str, int]
    """Sink -> in its dead letters."""
    values_quarantined: int
    """By the parser."""
    values_dropped: int
    retries: int
    """Announcements and downloads beyond the first of each file."""
    latency_s: dict[str, list[float]]
    """From the end of the period until found, fetched, parsed, stored: 50th and 95th percentile, maximum."""
    took_s: float
    """From the first file announced to the last one stored."""

    @property
    def rates(self) -> dict[str, float]:
        """What follows from the counts: throughput, mean size of a batch, shares."""
        return {
            "files_per_s": _share(self.found, self.took_s),
            "values_per_s": _share(self.values, self.took_s),
            "bytes_per_s": _share(self.bytes, self.took_s),
            "rows_per_batch": _share(self.rows, self.batches),
            "suspect_share": _share(self.suspect, self.rows),
            "error_share": _share(self.error, self.found),
            "retries_per_file": _share(self.retries, self.found),
        }


def _share(part: float, whole: float) -> float:
    return round(part / whole, 4) if whole else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle(Message):
    """The tracker's command to a fetcher: move the file away on its element."""

    kind: ClassVar[str] = "settle"
    file_id: str
    to: Literal["done", "error"]
    status: dict[str, Any]
    """The file's status as it was (a FileStatus as plain fields); the fetcher answers with done or error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterBatch(Message):
    """Rows of one measurement group and period of one file, columnar: counter names once.

    See docs/decisions/0004-columnar-batches.md.
    """

    kind: ClassVar[str] = "counter-batch"
    system: str
    file_id: str
    element: str
    """Distinguished name of the managed element the rows belong to."""
    group: str
    """measInfoId."""
    job: str
    gp_s: int
    """Granularity period."""
    end_s: int
    """End of the granularity period, seconds since 1970 UTC."""
    end_offset_min: int
    """The zone the element wrote that time in."""
    ver: int
    """See `version_of`."""
    counters: list[str]
    rows: list[list[Any]]
    """Each [measObjLdn, suspect 0|1, value, ...]: number, text, vector as an array, or null for a missing one."""
    types: dict[str, str] = field(default_factory=dict)
    """Counter -> integer, number, text or vector, as the dictionary promises; of these counters, those it knows.

    A value may break the promise: it is here as the file has it.
    """
    units: dict[str, str] = field(default_factory=dict)
    """Counter -> the unit its values are in; of these counters, those whose unit is known."""

    @property
    def values(self) -> int:
        """How many are there; a vector is one."""
        return sum(len(row) - row.count(None) - 2 for row in self.rows)


LedgerRecord = FileStatus | SinkPosition | SetAside
LEDGER_KINDS: dict[Any, type[LedgerRecord]] = {SinkPosition.kind: SinkPosition, SetAside.kind: SetAside}


def decode_status(raw: bytes) -> LedgerRecord:
    """A record of pm.files.status, which carries three kinds.

    Raises:
        BadMessage: none of them.
    """
    found = _object(raw)
    return LEDGER_KINDS.get(found.get("kind"), FileStatus).of(found, raw)
