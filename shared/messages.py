"""The messages between the services: frozen records that check every known field and ignore unknown ones.

orjson writes and reads them, msgspec checks them. A new field needs a default; a changed meaning needs a new topic.
"""

from collections import Counter
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self
from urllib.parse import quote_from_bytes, unquote_to_bytes
from zlib import crc32

import msgspec
import orjson
from msgspec import Meta

from shared.batch_rows import problem_of_rows

Stage = Literal["found", "fetching", "postponed", "parsed", "failed", "done", "error", "lost"]
"""The progress of a file.

found      announced; waits for a fetcher until its lease expires
fetching   a fetcher is about to download it; its lease continues
postponed  the element did not answer; a later scan announces the file again
parsed     all its batches are in the topic; waits for the sinks
failed     it cannot be read, for the given reason; waits to be moved to error/
done       every required sink has stored it, and it is in done/
error      it is in error/, with the reason beside it
lost       it vanished from the element before it was downloaded
"""
PARTITIONS = 12
"""Number of partitions of every topic: a file's messages and the sinks' positions must have the same partition.

See docs/decisions/0002-completion-by-offset.md.
"""

Text = Annotated[str, Meta(max_length=16_384)]
"""A text of limited length, so that a message that repeats the texts of another one is not too large for a topic."""
LONGEST_REASON = 2_000
"""Most bytes of a reason in a message or a header."""
HexId = Annotated[str, Meta(pattern="^[0-9a-f]{16}$")]
"""16 hexadecimal digits, see `digest_of`."""
Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Partition = Annotated[int, Meta(ge=0, le=2**31 - 1)]
CalendarTime = Annotated[int, Meta(ge=-62_135_510_400, le=253_402_214_400)]
"""Seconds since 1970 UTC, in the years 1 to 9999 in every time zone."""
ClockTime = Annotated[float, Meta(ge=0, le=253_402_214_400)]
"""Seconds since 1970 UTC by a service's clock, up to the year 9999."""


class BadMessage(ValueError):  # noqa: N818
    """Bytes that are not a valid message of the expected kind; keeps them for the dead letters."""

    def __init__(self, reason: str, raw: bytes) -> None:
        super().__init__(reason)
        self.raw = raw


def partition_of(element: str) -> int:
    """Returns the partition of an element's batches and statuses; see also `File.fetcher_partition`."""
    return crc32(element.encode()) % PARTITIONS


def path_text(path: bytes) -> str:
    """Returns a remote path as text for messages and log lines; bytes other than plain ASCII are percent-encoded."""
    return quote_from_bytes(path, safe="/!#$&'()*+,:;=?@[]~ {}^|`")


def path_bytes(text: str) -> bytes:
    """Returns the remote path that `path_text` encoded."""
    return unquote_to_bytes(text)


def bounded_text(text: str, most_bytes: int = LONGEST_REASON) -> str:
    """Returns a text, cut to so many bytes of UTF-8; what UTF-8 cannot encode is escaped."""
    return text.encode(errors="backslashreplace")[:most_bytes].decode(errors="ignore")


def digest_of(content: bytes) -> str:
    """Returns a digest of 16 hexadecimal digits."""
    return blake2b(content, digest_size=8).hexdigest()


def file_identity(system: str, endpoint: str, path: str, size: int, mtime_s: int) -> str:
    """Returns a file's identity, 16 hexadecimal digits; the same name with other content is another file."""
    identified_by = "\0".join((system, endpoint, path, str(size), str(mtime_s)))
    return digest_of(identified_by.encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Base of all messages: writes JSON, and reads it with tolerance for unknown fields."""

    kind: ClassVar[str]

    def encode(self) -> bytes:
        return b'{"kind":"%s",%s' % (self.kind.encode(), orjson.dumps(self)[1:])

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """Returns the message; fields that a newer writer added are ignored.

        Raises:
            BadMessage: not JSON, or a field is missing or invalid; the text names the path of the field.
        """
        return cls.of(json_object(raw), raw)

    @classmethod
    def of(cls, found: dict[str, Any], raw: bytes) -> Self:
        """Returns the message of a JSON object that is already parsed.

        Raises:
            BadMessage: see `decode`.
        """
        kind = found.get("kind", cls.kind)
        if kind != cls.kind:
            raise BadMessage(f"not a {cls.kind}, but {kind!r}" if isinstance(kind, str) else f"not a {cls.kind}", raw)
        try:
            return msgspec.convert(found, cls)
        except msgspec.ValidationError as error:
            raise BadMessage(f"not a {cls.kind}: {error}", raw) from error


def json_object(raw: bytes) -> dict[str, Any]:
    """Returns the JSON object that a message is.

    Raises:
        BadMessage: the bytes are not JSON, or not an object.
    """
    if not raw:
        raise BadMessage("not JSON: empty", raw)
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadMessage(f"not JSON: {error}", raw) from error
    if not isinstance(found, dict):
        raise BadMessage("not a JSON object", raw)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class File(Message):
    """The description of a file that every message about it contains."""

    file_id: HexId
    system: Text
    endpoint: Text
    """Name of the endpoint in the inventory; one endpoint may serve many elements."""
    element: Text
    """The managed element in the file's name (3GPP TS 32.432 clause 5.1.2), else the endpoint; the partition key."""
    path: Text
    """Full remote path, encoded by `path_text`."""
    size: Count
    mtime_s: CalendarTime
    epoch: Count
    """Epoch of the leader that announced the file; readers discard lower ones."""
    end_s: CalendarTime = 0
    """End of the period in the file's name, seconds since 1970 UTC; 0 if the name has none."""
    attempt: Count = 1
    """Number of announcements of the file so far, this one included."""
    found_s: ClockTime = 0.0
    """Time of the first announcement by the scanner's clock; 0: unknown."""
    lies_at: Text = ""
    """Path from which a backfill reads the file, and where it stays; empty: the file is at `path`."""
    announced_in: Annotated[int, Meta(ge=-1, lt=PARTITIONS)] = -1
    """Partition of the announcement, which the host determines; -1: that of the element, as in earlier versions."""

    @property
    def place(self) -> str:
        """The path where the file is now."""
        return self.lies_at or self.path

    @property
    def fetcher_partition(self) -> int:
        """The partition of the announcement and of the command to move the file, so that one fetcher gets both."""
        return partition_of(self.element) if self.announced_in < 0 else self.announced_in


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFound(File):
    """A settled file on an element, announced by the leader of its system."""

    kind: ClassVar[str] = "file-found"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStatus(File):
    """The progress of a file; the newest status in the compacted topic is the file's entry in the ledger."""

    kind: ClassVar[str] = "file-status"
    stage: Stage
    at_s: ClockTime
    """Time of this status by the clock of the service that wrote it."""
    reason: Text = ""
    topic: Text = ""
    partition: Annotated[int, Meta(ge=-1, le=2**31 - 1)] = -1
    first_offset: Annotated[int, Meta(ge=-1, le=2**63 - 1)] = -1
    """Offset of the file's first batch; -1: unknown, as from a fetcher of an earlier version."""
    last_offset: Annotated[int, Meta(ge=-1, le=2**63 - 1)] = -1
    """Offset of the file's last batch: a sink whose position is beyond it has stored the whole file."""
    tries: Count = 1
    """Number of attempts to download the file since its last announcement."""
    batches: Count = 0
    """Number of messages in the topic."""
    rows: Count = 0
    suspect: Count = 0
    """Number of rows that the element flagged as suspect."""
    values: Count = 0
    nulls: Count = 0
    quarantined: Count = 0
    dropped: Count = 0
    fetched_s: ClockTime = 0.0
    """Time at which the file was downloaded completely; 0: never."""
    parsed_s: ClockTime = 0.0
    """Time at which all its batches were in the topic; later statuses repeat it, as compaction removes earlier ones."""
    stored_s: ClockTime = 0.0
    """Time at which every required sink had stored the file."""
    moves_refused: Count = 0
    """Number of commands to move the file that failed, while it is `parsed` or `failed`; 0: none, or it is moved."""
    not_moved: Text = ""
    """Why the last of these commands failed."""
    job: str = ""
    """The jobIds in the file, separated by commas."""
    sw_version: str = ""
    """The software version of the element, if the file names it (swVersion of 3GPP TS 32.435 and 28.532)."""
    managed_element: str = ""
    """The element whose rows the file brings, as it is stored with them; of several, the first."""


def status_of(file: FileFound, stage: Stage, at_s: float, reason: str = "") -> FileStatus:
    """Returns a status of an announced file."""
    return FileStatus(**asdict(file), stage=stage, at_s=at_s, reason=bounded_text(reason))


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkPosition(Message):
    """A sink's durable position: everything in the partition before next_offset is stored or set aside."""

    kind: ClassVar[str] = "sink-position"
    sink: str
    topic: str
    partition: Partition
    next_offset: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside(Message):
    """A part of a message that a sink set aside in the dead letters; written before the sink's position passes it."""

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
    """`shared.versions.content_digest` of the bytes that were set aside."""

    @property
    def key(self) -> str:
        """Key in the ledger; a tombstone for it means that the part was sent again."""
        return set_aside_key(self.sink, self.file_id, self.content)


def set_aside_key(sink: str, file_id: str, content: str) -> str:
    """Returns a key that is the same when a file is parsed and set aside again."""
    return f"{sink}/{file_id}/{content}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle(Message):
    """The tracker's command to a fetcher to settle a file on its element."""

    kind: ClassVar[str] = "settle"
    file_id: HexId
    to: Literal["done", "error"]
    status: FileStatus
    """The file's last status; the fetcher answers with done or error."""


if TYPE_CHECKING:
    Rows = list[list[Any]]
else:
    Rows = list[Any]  # msgspec would copy each row; `problem_of_rows` takes half the time and checks what matters


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterBatch(Message):
    """Rows of one measurement group and period of one file; the names of the counters appear once.

    See docs/decisions/0004-columnar-batches.md.
    """

    kind: ClassVar[str] = "counter-batch"
    system: str
    file_id: HexId
    element: str
    """Distinguished name of the rows' managed element."""
    group: str
    """Value of measInfoId."""
    job: str
    gp_s: Count
    """Granularity period in seconds."""
    end_s: CalendarTime
    """End of the granularity period, seconds since 1970 UTC."""
    end_offset_min: Annotated[int, Meta(ge=-(2**15), le=2**15 - 1)]
    """Offset from UTC, in minutes, in which the element wrote that time."""
    ver: Int64
    """Version of the file's rows, see `shared.versions`."""
    parsed_s: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 0
    """Time at which the file was parsed: of two batches of one version, the one that was parsed later wins."""
    counters: list[str]
    """Names of the counters, without duplicates."""
    rows: Rows
    """Rows [measObjLdn, suspect 0|1, value, ...]; a value is a number, text, an array (vector) or null (missing)."""
    types: dict[str, str] = field(default_factory=dict)
    """Declared types by counter (integer, number, text or vector), for the counters in the dictionary.

    A value may contradict its declared type; it is unchanged from the file.
    """
    units: dict[str, str] = field(default_factory=dict)
    """Units of the values by counter, for the counters whose unit is known."""

    @classmethod
    def of(cls, found: dict[str, Any], raw: bytes) -> Self:
        """Returns the batch; checks the shape of each row and that each cell is of an allowed type.

        Raises:
            BadMessage: see `decode`.
        """
        batch = super(CounterBatch, cls).of(found, raw)
        if len(set(batch.counters)) < len(batch.counters):
            ((twice, _),) = Counter(batch.counters).most_common(1)
            raise BadMessage(f"not a {cls.kind}: counter {twice!r} appears twice - at `$.counters`", raw)
        objects = 1 + ("types" in found) + ("units" in found)
        if problem := problem_of_rows(batch.rows, 2 + len(batch.counters), raw, objects):
            raise BadMessage(f"not a {cls.kind}: {problem}", raw)
        return batch

    @property
    def values(self) -> int:
        """Number of values that are not missing; a vector counts as one."""
        return sum(len(row) - row.count(None) - 2 for row in self.rows)
