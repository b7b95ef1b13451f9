"""`pmflow quarantine`: lists, shows, retries and discards dead letters of counters, and files in error/."""

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
from shared.messages import CounterBatch, FileStatus, partition_of
from shared.settings import Settings, load
from shared.topics import FILES_STATUS, counters_topic
from tools.cli.operate import ledger
from tools.cli.output import OutputTable, say, say_json, show

app = typer.Typer(no_args_is_help=True, help="List, show, retry and discard what was quarantined or set aside.")
DISCARDED = "discarded: "
"""Prefix of the reason of a discarded file in error/."""

ItemIds = Annotated[list[str], typer.Argument(help="ids as shown by `pmflow quarantine list`")]


@dataclass(frozen=True, slots=True)
class QuarantinedItem:
    """A file in error/, a quarantined block, or a batch that a sink set aside."""

    id: str
    """The file's identity, or topic/partition/offset of the dead letter."""
    what: str
    """file: a file in error/. block: a part of a file with errors. batch: a message that a sink could not store."""
    system: str
    element: str
    reason: str
    origin: str
    file_id: str
    content: bytes
    sink: str = ""
    """The sink that refused the batch."""


def quarantined_items(
    files: Iterable[FileStatus], letters: Mapping[str, Iterable[Record]]
) -> Iterator[QuarantinedItem]:
    """Yields the items that were neither retried nor discarded.

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


def _letter(letter: Record, system: str) -> QuarantinedItem:
    content = letter.value or b""
    try:
        said = orjson.loads(content)
    except orjson.JSONDecodeError:
        said = {}
    known: dict[str, Any] = said if isinstance(said, dict) else {}
    what = "block" if "reason" in known and known.get("kind") != CounterBatch.kind else "batch"
    element = str(known.get("element", letter.key_text))
    reason, whence, sink = (letter.headers.get(name, "") for name in (REASON, ORIGIN, SINK))
    return QuarantinedItem(
        letter.origin, what, system, element, reason, whence, str(known.get("file_id", "")), content, sink
    )


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
    brokers = settings.kafka.bootstrap_servers
    files = ledger.read_ledger(brokers).files
    letters = {
        system.name: ledger.topic_records(brokers, counters_topic(system.name).dead_letters)
        for system in settings.systems
    }
    found = {item.id: item for item in quarantined_items(files.values(), letters)}
    return Quarantine(files, found, Producer(brokers), settler_of(settings))


@app.command("list")
def list_items(system: Annotated[str, typer.Option(help="list only items of this system")] = "") -> None:
    """List what is quarantined or set aside."""
    items = read_quarantine(load()).items.values()
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
    """Show one item completely: a block's texts, a batch's rows, or a file's last status."""
    quarantine = read_quarantine(load())
    item = _known(quarantine, id_)
    say_json(item.content or quarantine.files[item.file_id].encode())


@app.command("retry")
def retry_items(ids: ItemIds) -> None:
    """Retry items after a fix: send a batch again; move a file, or the file of a block, back to be announced again."""
    _each(ids, Quarantine.retry)


@app.command("discard")
def discard_items(ids: ItemIds) -> None:
    """Discard items: they are not listed again."""
    _each(ids, Quarantine.discard)


def _each(ids: list[str], do: Callable[[Quarantine, QuarantinedItem], str]) -> None:
    quarantine = read_quarantine(load())
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
