"""`pmflow quarantine`: lists, shows, retries and discards dead letters, and files in error/."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from time import time
from typing import Annotated, Any

import orjson
import typer

from services.fetcher.operate import Settler, settler_of
from shared.errors import Unreachable
from shared.kafka.dead_letters import ORIGIN, REASON, SINK, retraction, settlement, unsettled
from shared.kafka.produce import Outgoing, Producer
from shared.kafka.record import Record
from shared.messages import BadMessage, CounterBatch, FileStatus, partition_of
from shared.settings import Settings
from shared.topics import CYCLES, FILES_FOUND, FILES_SETTLE, FILES_STATUS, Topic, counters_topic
from tools.cli.operate import ledger
from tools.cli.operate.ready import load_ready, require_ready
from tools.cli.output import OutputTable, say, say_json, show

app = typer.Typer(no_args_is_help=True, help="List, show, retry and discard what was quarantined or set aside.")
DISCARDED = "discarded: "
"""Prefix of the reason of a discarded file in error/."""
RECORD_MESSAGES: Mapping[Topic, str] = {
    FILES_FOUND: "announcement",
    FILES_SETTLE: "command",
    FILES_STATUS: "status",
    CYCLES: "figures",
}
"""Topic -> the kind of item that a record of it is; those of counters are blocks and batches."""
RECORD_LETTERS = tuple(topic.dead_letters for topic in RECORD_MESSAGES)
MESSAGE_KINDS = {topic.name: what for topic, what in RECORD_MESSAGES.items()}
RECORD_TOPICS = {what: topic for topic, what in MESSAGE_KINDS.items()}

ItemIds = Annotated[list[str], typer.Argument(help="ids as shown by `pmflow quarantine list`")]


@dataclass(frozen=True, slots=True)
class QuarantinedItem:
    """A file in error/, a quarantined block, a batch that a sink set aside, or another record that was set aside."""

    id: str
    """The file's identity, or topic/partition/offset of the dead letter."""
    what: str
    """file: a file in error/. block: a part of a file with errors. batch: a message that a sink could not store.

    Others are records of the topic named by `MESSAGE_KINDS`.
    """
    system: str
    element: str
    reason: str
    origin: str
    file_id: str
    content: bytes
    sink: str = ""
    """The sink that refused the batch."""
    at_s: float = 0.0
    """Time at which it was set aside."""
    key: str = ""
    """Key of the record."""


def quarantined_items(
    files: Iterable[FileStatus], letters: Mapping[str, Iterable[Record]]
) -> Iterator[QuarantinedItem]:
    """Yields the files and the dead letters of counters that were neither retried nor discarded.

    Args:
        files: newest status of each file.
        letters: dead letters by system.
    """
    for file in files:
        if file.stage in ("failed", "error") and not file.reason.startswith(DISCARDED):
            yield QuarantinedItem(
                file.file_id, "file", file.system, file.element, file.reason, file.path, file.file_id, b""
            )
    for system, records in letters.items():
        for letter in unsettled(records):
            yield _letter(letter, system)


def records_set_aside(
    files: Mapping[str, FileStatus], letters: Mapping[str, Iterable[Record]]
) -> Iterator[QuarantinedItem]:
    """Yields the records of all other topics that were set aside and neither retried nor discarded.

    An announcement is left out if its file has gone on since then: it is listed as a file, if it failed.

    Args:
        files: newest status of each file by its id.
        letters: dead letters by the name of their topic.
    """
    for topic, records in letters.items():
        for letter in unsettled(records):
            known = _fields(letter.value)
            status = known.get("status")
            about = status if isinstance(status, dict) else known
            file_id = str(known.get("file_id", ""))
            if topic == FILES_FOUND.name and file_id in files and files[file_id].at_s >= letter.timestamp_s:
                continue
            yield QuarantinedItem(
                letter.origin, MESSAGE_KINDS[topic], str(about.get("system", "")), str(about.get("element", "")),
                letter.headers.get(REASON, ""), letter.headers.get(ORIGIN, ""), file_id, letter.value or b"",
                at_s=letter.timestamp_s, key=letter.key_text,
            )  # fmt: skip


def _fields(content: bytes | None) -> dict[str, Any]:
    """Returns the fields of a JSON object; none if the content is anything else."""
    try:
        found = orjson.loads(content or b"")
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _letter(letter: Record, system: str) -> QuarantinedItem:
    content, known = letter.value or b"", _fields(letter.value)
    what = "block" if "reason" in known and known.get("kind") != CounterBatch.kind else "batch"
    element = str(known.get("element", letter.key_text))
    reason, whence, sink = (letter.headers.get(name, "") for name in (REASON, ORIGIN, SINK))
    return QuarantinedItem(
        letter.origin, what, system, element, reason, whence, str(known.get("file_id", "")), content, sink,
        letter.timestamp_s, letter.key_text,
    )  # fmt: skip


@dataclass(frozen=True)
class Quarantine:
    """The quarantined items as they are now, and the connections to retry or discard them."""

    files: Mapping[str, FileStatus]
    items: Mapping[str, QuarantinedItem]
    producer: Producer
    settler: Settler

    def retry(self, item: QuarantinedItem) -> str:
        """Sends an item through the pipeline again; returns what was done.

        Raises:
            Unreachable: the element does not answer; nothing was changed.
        """
        if item.what in RECORD_TOPICS:
            return self._send_again(item)
        if item.what == "batch":
            _, partition, _ = item.id.rsplit("/", 2)
            topic = counters_topic(item.system).name
            self.producer.deliver(
                Outgoing(topic, int(partition), item.element, item.content),
                retraction(item.sink, item.file_id, item.content, int(partition)),
            )
            self._settled(item)
            return f"sent to {topic} again"
        file = self.files.get(item.file_id)
        if file is None:
            return "nothing done: the file is no longer in the ledger"
        if not self.settler.bring_back(file):
            return "nothing done: the file is no longer on its element"
        retried = replace(file, stage="postponed", at_s=time(), reason="retried by hand", moves_refused=0, not_moved="")
        self._say(retried)
        if item.what == "block":
            self._settled(item)
        return "file moved back to where it was found; the next scan announces it"

    def _send_again(self, item: QuarantinedItem) -> str:
        """Sends a record to its topic again, unless it would replace what is newer."""
        if not item.content:
            return "nothing done: the dead letter has no content; see its origin"
        if (known := self.files.get(item.file_id)) and self._is_outdated(item, known):
            self._settled(item)
            return f"nothing sent: the file is {known.stage} in the ledger"
        topic, (_, partition, _) = RECORD_TOPICS[item.what], item.id.rsplit("/", 2)
        self.producer.deliver(Outgoing(topic, int(partition), item.key, item.content))
        self._settled(item)
        return f"sent to {topic} again"

    @staticmethod
    def _is_outdated(item: QuarantinedItem, known: FileStatus) -> bool:
        match item.what:
            case "status":
                try:
                    return FileStatus.decode(item.content).at_s < known.at_s
                except BadMessage:
                    return False
            case "command":
                return known.stage in {"done", "error", "lost"}
            case _:
                return known.at_s >= item.at_s

    def discard(self, item: QuarantinedItem) -> str:
        """Hides an item from the list; files and dead letters stay where they are until their retention ends."""
        if item.what == "file":
            file = self.files[item.file_id]
            self._say(replace(file, at_s=time(), reason=DISCARDED + file.reason))
        else:
            self._settled(item)
        return "discarded"

    def _settled(self, item: QuarantinedItem) -> None:
        self.producer.deliver(settlement(item.id, item.element))

    def _say(self, status: FileStatus) -> None:
        partition = partition_of(status.element)
        self.producer.deliver(Outgoing(FILES_STATUS.name, partition, status.file_id, status.encode()))


def read_quarantine(settings: Settings) -> Quarantine:
    """Reads all quarantined items from the ledger and the dead letters."""
    brokers = settings.kafka
    files = ledger.read_ledger(brokers).files
    found = {item.id: item for item in quarantined_items(files.values(), read_counters_letters(settings))}
    found |= {item.id: item for item in records_set_aside(files, read_letters(settings))}
    return Quarantine(files, found, Producer(brokers), settler_of(settings))


def read_counters_letters(settings: Settings) -> dict[str, Iterable[Record]]:
    """Returns the dead letters of counters by system."""
    brokers, topics = settings.kafka, {s.name: counters_topic(s.name) for s in settings.systems}
    require_ready(settings, *(topic.dead_letters for topic in topics.values()))
    return {system: ledger.topic_records(brokers, topic.dead_letters) for system, topic in topics.items()}


def read_letters(settings: Settings) -> dict[str, Iterable[Record]]:
    """Returns the dead letters of all other topics by the name of the topic."""
    brokers = settings.kafka
    return {topic.name: ledger.topic_records(brokers, topic.dead_letters) for topic in RECORD_MESSAGES}


@app.command("list")
def list_items(system: Annotated[str, typer.Option(help="list only items of this system")] = "") -> None:
    """List what is quarantined or set aside."""
    items = read_quarantine(load_ready(*RECORD_LETTERS)).items.values()
    show(items_table(item for item in items if system in ("", item.system)))


def items_table(items: Iterable[QuarantinedItem]) -> OutputTable:
    """Returns a table with one row per item."""
    shown = OutputTable("id", "kind", "system", "element", "reason", "origin")
    for item in items:
        shown.add_row(item.id, item.what, item.system, item.element, item.reason, item.origin)
    return shown


@app.command("show")
def show_item(
    id_: Annotated[str, typer.Argument(metavar="ID", help="id as shown by `pmflow quarantine list`")],
) -> None:
    """Show one item completely: a block's texts, a record's content, or a file's last status."""
    quarantine = read_quarantine(load_ready(*RECORD_LETTERS))
    item = _known(quarantine, id_)
    say_json(item.content or quarantine.files[item.file_id].encode())


@app.command("retry")
def retry_items(ids: ItemIds) -> None:
    """Retry items after a fix: send a record again; move a file, or the file of a block, back to be announced again."""
    _each(ids, Quarantine.retry)


@app.command("discard")
def discard_items(ids: ItemIds) -> None:
    """Discard items: they are not listed again."""
    _each(ids, Quarantine.discard)


def _each(ids: list[str], do: Callable[[Quarantine, QuarantinedItem], str]) -> None:
    quarantine = read_quarantine(load_ready(*RECORD_LETTERS))
    failed = False
    for id_ in ids:
        item = _known(quarantine, id_)
        try:
            say(f"{id_}: {do(quarantine, item)}")
        except Unreachable as error:
            failed = True
            say(f"{id_}: nothing done: {error}", err=True)
    raise typer.Exit(int(failed))


def _known(quarantine: Quarantine, id_: str) -> QuarantinedItem:
    if id_ not in quarantine.items:
        raise typer.BadParameter(f"no item {id_!r}; expected an id from `pmflow quarantine list`")
    return quarantine.items[id_]
