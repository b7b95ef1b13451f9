"""The messages that travel between the services: frozen records, strict about what they know, tolerant of the rest.

orjson writes and reads them, msgspec checks them. A new field gets a default; a changed meaning is a new topic.
"""

from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self
from urllib.parse import quote_from_bytes, unquote_to_bytes
from zlib import crc32

import msgspec
import orjson
from msgspec import Meta

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

HexId = Annotated[str, Meta(pattern="^[0-9a-f]{16}$")]
"""16 hexadecimal digits, see `digest_of`."""
Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Partition = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Mtime = Annotated[int, Meta(ge=-(2**43), le=2**43 - 1)]
"""Seconds since 1970 UTC that `version_of` can shift by 20 bits."""
ClockTime = Annotated[float, Meta(ge=0, le=253_402_214_400)]
"""Seconds since 1970 UTC by a service's clock, not beyond the year 9999."""


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
        """Returns the message; fields a newer writer added are ignored.

        Raises:
            BadMessage: not JSON, or a field is missing or not what it must be; names the path of the wrong field.
        """
        return cls.of(_object(raw), raw)

    @classmethod
    def of(cls, found: dict[str, Any], raw: bytes) -> Self:
        """Returns the record of a JSON object that was read already.

        Raises:
            BadMessage: as `decode`.
        """
        kind = found.get("kind", cls.kind)
        if kind != cls.kind:
            raise BadMessage(f"not a {cls.kind}, but {kind!r}" if isinstance(kind, str) else f"not a {cls.kind}", raw)
        try:
            return msgspec.convert(found, cls)
        except msgspec.ValidationError as error:
            raise BadMessage(f"not a {cls.kind}: {error}", raw) from error


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

    file_id: HexId
    system: str
    endpoint: str
    """The inventory's name of where to fetch it; one endpoint may serve many elements."""
    element: str
    """The managed element by the file's name (3GPP TS 32.432 clause 5.1.2), else the endpoint; the partition key."""
    path: str
    """Full remote path, see `path_text`."""
    size: Count
    mtime_s: Mtime
    epoch: Count
    """Fencing epoch of the announcing leader: readers drop lower ones."""
    end_s: Int64 = 0
    """End of its period by its name, seconds since 1970 UTC; 0 when the name does not tell."""
    attempt: Count = 1
    """How often it was announced, this time included."""
    found_s: ClockTime = 0.0
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
    at_s: ClockTime
    """When this was said, seconds since 1970 by the sayer's clock."""
    reason: str = ""
    topic: str = ""
    partition: Annotated[int, Meta(ge=-1, le=2**31 - 1)] = -1
    last_offset: Annotated[int, Meta(ge=-1, le=2**63 - 1)] = -1
    """Of the file's last batch: a sink whose position is beyond it has the whole file."""
    tries: Count = 1
    """To download it, since it was announced last."""
    batches: Count = 0
    """Messages in the topic."""
    rows: Count = 0
    suspect: Count = 0
    """Rows the element flagged as suspect."""
    values: Count = 0
    nulls: Count = 0
    quarantined: Count = 0
    dropped: Count = 0
    fetched_s: ClockTime = 0.0
    """When it was downloaded whole; 0: it never was."""
    parsed_s: ClockTime = 0.0
    """When all its batches were in the topic; kept through later stages, as compaction forgets the earlier ones."""
    stored_s: ClockTime = 0.0
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
    partition: Partition
    next_offset: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside(Message):
    """Some of a message that a sink set aside in the dead letters, told before its position passes."""

    kind: ClassVar[str] = "set-aside"
    sink: str
    topic: str
    partition: Partition
    offset: Count
    file_id: HexId
    element: str
    values: Count
    reason: str
    at_s: ClockTime
    content: HexId
    """`digest_of` what was set aside."""

    @property
    def key(self) -> str:
        """In the ledger; a record without a value there says that it was sent again."""
        return set_aside_key(self.sink, self.file_id, self.content)


def set_aside_key(sink: str, file_id: str, content: str) -> str:
    """The same for a file that was parsed, and set aside, once more."""
    return f"{sink}/{file_id}/{content}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle(Message):
    """The tracker's command to a fetcher: move the file away on its element."""

    kind: ClassVar[str] = "settle"
    file_id: HexId
    to: Literal["done", "error"]
    status: FileStatus
    """The file's status as it was; the fetcher answers with done or error."""


if TYPE_CHECKING:
    Rows = list[list[Any]]
else:
    Rows = list[Any]  # msgspec would copy each row: `_check_rows` costs half as much, and looks at what matters


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterBatch(Message):
    """Rows of one measurement group and period of one file, columnar: counter names once.

    See docs/decisions/0004-columnar-batches.md.
    """

    kind: ClassVar[str] = "counter-batch"
    system: str
    file_id: HexId
    element: str
    """Distinguished name of the managed element the rows belong to."""
    group: str
    """measInfoId."""
    job: str
    gp_s: Count
    """Granularity period."""
    end_s: Int64
    """End of the granularity period, seconds since 1970 UTC."""
    end_offset_min: Annotated[int, Meta(ge=-(2**15), le=2**15 - 1)]
    """The zone the element wrote that time in."""
    ver: Int64
    """See `version_of`."""
    counters: list[str]
    """Unique."""
    rows: Rows
    """Each [measObjLdn, suspect 0|1, value, ...]: number, text, vector as an array, or null for a missing one."""
    types: dict[str, str] = field(default_factory=dict)
    """Counter -> integer, number, text or vector, as the dictionary promises; of these counters, those it knows.

    A value may break the promise: it is here as the file has it.
    """
    units: dict[str, str] = field(default_factory=dict)
    """Counter -> the unit its values are in; of these counters, those whose unit is known."""

    @classmethod
    def of(cls, found: dict[str, Any], raw: bytes) -> Self:
        """Returns the batch; the shape of each row is checked, its values are not.

        Raises:
            BadMessage: as `decode`.
        """
        batch = super(CounterBatch, cls).of(found, raw)
        if len(set(batch.counters)) < len(batch.counters):
            twice = next(name for name in batch.counters if batch.counters.count(name) > 1)
            raise BadMessage(f"not a {cls.kind}: counter {twice!r} comes twice - at `$.counters`", raw)
        if (number := _bad_row(batch.rows, 2 + len(batch.counters))) is not None:
            expected = f"`[object, 0|1, value, ...]` of {2 + len(batch.counters)} cells"
            raise BadMessage(f"not a {cls.kind}: Expected {expected} - at `$.rows[{number}]`", raw)
        return batch

    @property
    def values(self) -> int:
        """How many are there; a vector is one."""
        return sum(len(row) - row.count(None) - 2 for row in self.rows)


def _bad_row(rows: Rows, cells: int) -> int | None:
    """Returns the number of the first row that is not an object, a flag and as many values as there are counters."""
    for number, row in enumerate(rows):
        if type(row) is not list or len(row) != cells or type(row[0]) is not str or row[1].__class__ is not int:
            return number
        if not 0 <= row[1] <= 1:
            return number
    return None


LedgerRecord = FileStatus | SinkPosition | SetAside
LEDGER_KINDS: dict[str, type[LedgerRecord]] = {SinkPosition.kind: SinkPosition, SetAside.kind: SetAside}


def decode_status(raw: bytes) -> LedgerRecord:
    """A record of pm.files.status, which carries three kinds.

    Raises:
        BadMessage: none of them.
    """
    found = _object(raw)
    kind = found.get("kind")
    return LEDGER_KINDS.get(kind if isinstance(kind, str) else "", FileStatus).of(found, raw)
