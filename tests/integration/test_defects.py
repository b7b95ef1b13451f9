"""Real services with a planted fault: it fails always, on one record, or once.

A service whose handler always fails sets as many records aside as its budget allows, and exits. A record on which the
handler fails is set aside with its traceback, and all others are handled. A failure that passes costs nothing.
"""

import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from urllib.request import urlopen

import pymysql
import pytest

from services.scanner.file_progress import FileProgress
from services.scanner.ledger import LedgerFollower
from shared.defects import DefectBudget, TooManyDefects
from shared.kafka import admin
from shared.kafka.dead_letters import all_letters, unsettled
from shared.kafka.produce import Outgoing, Producer
from shared.kafka.record import Record
from shared.messages import (
    BadMessage,
    CounterBatch,
    FileFound,
    FileStatus,
    SetAside,
    Settle,
    SinkPosition,
    file_identity,
    partition_of,
    status_of,
)
from shared.topics import CYCLES, FILES_FOUND, FILES_SETTLE, FILES_STATUS, Topic, counters_topic, provisioned
from tests.fakes.elements import free_port
from tests.fakes.fetching import PM
from tests.integration.test_sink_loop import read
from tools.cli.operate import ledger
from tools.cli.operate.errors import record_failures
from tools.cli.operate.quarantine import records_set_aside
from tools.devstack.stack import Stack

ROOT = Path(__file__).parents[2]
BUDGET = 3
ELEMENT = "e1"
PLANT = """
import os
def fails(poisoned, times=[0]):
    how = os.environ["HOW"]
    times[0] += poisoned or how != "one record"
    if how == "always" or (how == "one record" and poisoned) or (how == "once" and times[0] == 1):
        raise ValueError("planted")
"""
SINK = f"""{PLANT}
from services.mysql_writer import __main__, sink
write = sink.MysqlWriterWorker.write
def planted(self, batches, positions):
    if batches:
        fails(any(batch.group == "Poison" for batch in batches))
    write(self, batches, positions)
sink.MysqlWriterWorker.write = planted
__main__.main()
"""
FETCHER = f"""{PLANT}
from services.fetcher import wiring, worker
parsed = worker.FileProcessorWorker._parsed
def planted(self, file, found):
    if file.system == os.environ["SYSTEM"]:
        fails("poison" in file.path)
    return parsed(self, file, found)
worker.FileProcessorWorker._parsed = planted
settle = wiring.Settler.settle
def planted_settle(self, commands):
    for command in commands:
        if command.status.system == os.environ["SYSTEM"]:
            fails("poison" in command.status.path)
    return settle(self, commands)
wiring.Settler.settle = planted_settle
if __name__ == "__main__":
    wiring.main()
"""
TRACKER = f"""{PLANT}
from services.tracker import __main__, tracker
on_status = tracker.FileProcessingTracker.on_status
def planted(self, status, now_s):
    if status.system == os.environ["SYSTEM"]:
        fails("poison" in status.path)
    return on_status(self, status, now_s)
tracker.FileProcessingTracker.on_status = planted
__main__.main()
"""


class Service:
    """A service in a process of its own, for a system of its own."""

    def __init__(self, stack: Stack, home: Path) -> None:
        self.stack = stack
        self.home = home
        self.system = f"d{uuid.uuid4().hex[:8]}"
        self.brokers = stack.kafka
        self.topic = counters_topic(self.system)
        admin.provision(self.brokers, provisioned([self.system]))
        self.producer = Producer(self.brokers)
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        (home / "pm").mkdir()
        (home / "inventory.yaml").write_text(f"- {{name: {ELEMENT}, protocol: local, directory: {home / 'pm'}}}\n")
        (home / "pmflow.yaml").write_text(
            f"kafka: {{bootstrap_servers: '{stack.kafka.bootstrap_servers}'}}\n"
            f"mysql: {{host: {stack.mysql_host}, port: {stack.mysql_port}, user: root, database: {self.system}}}\n"
            f"defects: {{most: {BUDGET}, within-s: 600}}\n"
            "mysql_writer: {writers: 1, announce_s: 0.1}\n"
            "tracker: {look_s: 0.5, session_timeout_s: 6}\n"
            f"{self.system}: {{isUsingClickhouse: false, inventory: '{home / 'inventory.yaml'}'}}\n"
        )

    def start(self, code: str, how: str) -> None:
        script = self.home / "planted.py"
        script.write_text(code)
        env = {
            "PMFLOW_CONFIG": str(self.home / "pmflow.yaml"), "PYTHONPATH": str(ROOT), "HOW": how, "SYSTEM": self.system,
            "PMFLOW_HEALTH__FILE": str(self.home / "health"), "PMFLOW_METRICS__PORT": str(self.port),
        }  # fmt: skip
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen([sys.executable, script], env=env, cwd=ROOT, stdout=log, stderr=log)

    def send(self, topic: Topic, *values: bytes | None, key: str = ELEMENT) -> None:
        self.producer.deliver(*(Outgoing(topic.name, partition_of(ELEMENT), key, value) for value in values))

    def exits(self) -> int:
        assert self.process is not None
        return self.process.wait(60)

    def until(self, true: Callable[[], object]) -> None:
        until_s = monotonic() + 120
        while not true():
            assert self.process is not None
            assert self.process.poll() is None, (self.home / "log").read_text()[-3000:]
            assert monotonic() < until_s, (self.home / "log").read_text()[-3000:]

    def defects(self) -> float:
        """Returns the metric by which the alert PmflowDefects is raised."""
        with urlopen(f"http://127.0.0.1:{self.port}/metrics") as response:
            lines = response.read().decode().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("pmflow_defects_total "))

    def letters(self, topic: Topic) -> list[Record]:
        """Returns the dead letters of this system."""
        return [letter for letter in all_letters(self.brokers, topic) if self.system.encode() in (letter.value or b"")]

    def statuses(self) -> dict[str, FileStatus]:
        """Returns the newest status of each file of this system, by the name of the file."""
        files = ledger.read_ledger(self.brokers).files.values()
        return {f.path.rpartition("/")[2]: f for f in files if f.system == self.system}

    def close(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(60)
        self.producer.close()


@pytest.fixture
def service(stack: Stack, tmp_path: Path) -> Iterator[Service]:
    found = Service(stack, tmp_path)
    yield found
    found.close()


def assert_defects(letters: Sequence[Record], many: int, topic: Topic) -> None:
    assert len(letters) == many
    for letter in letters:
        assert letter.headers["reason"] == "defect: ValueError: planted"
        assert 'raise ValueError("planted")' in letter.headers["traceback"]
        assert letter.headers["origin"].startswith(f"{topic.name}/{partition_of(ELEMENT)}/")


def batch(service: Service, number: int, group: str = "Good") -> bytes:
    return CounterBatch(
        system=service.system, file_id=f"{number:016x}", element=ELEMENT, group=group, job="", gp_s=900,
        end_s=1_700_000_100, end_offset_min=0, ver=1, counters=["a"], rows=[[f"o{number}", 0, number]],
    ).encode()  # fmt: skip


def told(service: Service) -> list[SinkPosition | SetAside]:
    records = ledger.ledger_records(read(service.brokers, FILES_STATUS))
    return [f for _, f in records if isinstance(f, (SinkPosition, SetAside)) and f.topic == service.topic.name]


def position(service: Service) -> int:
    return max((p.next_offset for p in told(service) if isinstance(p, SinkPosition)), default=0)


def stored(service: Service) -> list[int]:
    host, port = service.stack.mysql_host, service.stack.mysql_port
    with (
        pymysql.connect(host=host, port=port, user="root", database=service.system) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(f"SELECT a FROM `{service.system}_good` ORDER BY a")
        return [int(value) for (value,) in cursor.fetchall()]


def test_a_sink_whose_handler_always_fails_sets_no_more_aside_than_its_budget_and_exits(service: Service) -> None:
    service.send(service.topic, *(batch(service, n) for n in range(3 * BUDGET)))
    service.start(SINK, "always")
    assert service.exits() == 70
    assert_defects(service.letters(service.topic), BUDGET, service.topic)
    assert position(service) <= BUDGET


def test_a_sink_sets_one_message_aside_on_which_its_handler_fails(service: Service) -> None:
    service.send(service.topic, *(batch(service, n, "Poison" if n == 5 else "Good") for n in range(12)))
    service.start(SINK, "one record")
    service.until(lambda: position(service) == 12)
    assert stored(service) == [n for n in range(12) if n != 5]
    assert_defects(service.letters(service.topic), 1, service.topic)
    (aside,) = (found for found in told(service) if isinstance(found, SetAside))
    assert (aside.offset, aside.values, aside.reason) == (5, 1, "defect: ValueError: planted")
    assert service.defects() == 1


def test_a_sink_whose_handler_fails_once_sets_nothing_aside(service: Service) -> None:
    service.send(service.topic, *(batch(service, n) for n in range(12)))
    service.start(SINK, "once")
    service.until(lambda: position(service) == 12)
    assert stored(service) == list(range(12))
    assert service.letters(service.topic) == []
    assert service.defects() == 0


def placed(service: Service, name: str) -> FileFound:
    """Puts a file on the element."""
    path = service.home / "pm" / name
    path.write_bytes(PM)
    mtime_s, where = int(path.stat().st_mtime), f"{service.home}/pm/{name}"
    return FileFound(
        file_id=file_identity(service.system, ELEMENT, where, len(PM), mtime_s), system=service.system,
        endpoint=ELEMENT, element=ELEMENT, path=where, size=len(PM), mtime_s=mtime_s, epoch=1,
    )  # fmt: skip


def announce(service: Service, *names: str) -> None:
    for name in names:
        file = placed(service, name)
        service.send(FILES_STATUS, status_of(file, "found", 1.0).encode(), key=file.file_id)
        service.send(FILES_FOUND, file.encode())


def committed(service: Service) -> bool:
    partition = partition_of(ELEMENT)
    group = admin.committed(service.brokers, "pmflow-fetcher", FILES_FOUND)
    return group[partition] == admin.ends(service.brokers, FILES_FOUND)[partition]


NAMES = [f"A{n}.xml" for n in range(3 * BUDGET)]


def test_a_fetcher_whose_work_always_fails_sets_no_more_aside_than_its_budget_and_exits(service: Service) -> None:
    announce(service, *NAMES)
    service.start(FETCHER, "always")
    assert service.exits() == 70
    assert_defects(service.letters(FILES_FOUND), BUDGET, FILES_FOUND)
    assert [status.stage for status in service.statuses().values()].count("failed") == BUDGET


def test_a_fetcher_ends_one_file_on_which_its_work_fails_and_parses_all_others(service: Service) -> None:
    damaged = [b'{"file_id": ["%s"]}' % service.system.encode(), service.system.encode(), b'{"kind": {}}', b"", None]
    service.send(FILES_FOUND, *damaged)
    service.send(FILES_SETTLE, *damaged)
    announce(service, *NAMES[:5], "poison.xml", *NAMES[5:])
    service.start(FETCHER, "one record")
    service.until(lambda: {s.stage for s in service.statuses().values()} == {"parsed", "failed"})
    service.until(lambda: committed(service))
    statuses = service.statuses()
    assert {name for name, status in statuses.items() if status.stage == "failed"} == {"poison.xml"}
    assert statuses["poison.xml"].reason == "defect: ValueError: planted"
    service.until(lambda: len(service.letters(FILES_SETTLE)) == 2)
    *bad, defect = letters = service.letters(FILES_FOUND)
    assert [letter.value for letter in bad] == damaged[:2]
    assert_defects([defect], 1, FILES_FOUND)
    assert service.defects() == 1
    files = {status.file_id: status for status in statuses.values()}
    shown = records_set_aside(files, {FILES_FOUND.name: letters})
    assert [item.content for item in shown] == damaged[:2]  # the other is listed as a file that failed


def test_a_fetcher_whose_work_fails_once_sets_nothing_aside(service: Service) -> None:
    announce(service, *NAMES)
    service.start(FETCHER, "once")
    service.until(lambda: {s.stage for s in service.statuses().values()} == {"parsed"})
    assert service.letters(FILES_FOUND) == []
    assert service.defects() == 0


def test_a_fetcher_that_fails_on_a_command_reports_the_file_as_not_moved_and_moves_all_others(service: Service) -> None:
    for name in ("A.xml", "poison.xml", "B.xml"):
        status = status_of(placed(service, name), "parsed", 1.0)
        service.send(FILES_SETTLE, Settle(file_id=status.file_id, to="done", status=status).encode())
    service.start(FETCHER, "one record")
    service.until(lambda: [s.stage for s in service.statuses().values()].count("done") == 2)
    service.until(lambda: "poison.xml" in service.statuses())
    poison = service.statuses()["poison.xml"]
    assert (poison.moves_refused, poison.not_moved) == (1, "defect: ValueError: planted")
    assert_defects(service.letters(FILES_SETTLE), 1, FILES_SETTLE)


def parsed(service: Service, *names: str) -> set[str]:
    """Writes files to the ledger that MySQL has stored; returns their ids."""
    at = {"topic": service.topic.name, "partition": partition_of(ELEMENT)}
    position = SinkPosition(sink="mysql", next_offset=1_000, **at)  # type: ignore[arg-type]
    service.send(FILES_STATUS, position.encode(), key=f"mysql/{at['topic']}/{at['partition']}")
    ids = set()
    for number, name in enumerate(names):
        file_id = file_identity(service.system, ELEMENT, name, 1, 1)
        status = FileStatus(
            file_id=file_id, system=service.system, endpoint=ELEMENT, element=ELEMENT, path=f"/pm/{name}", size=1,
            mtime_s=1, epoch=1, stage="parsed", at_s=1.0, last_offset=number, values=1, **at,  # type: ignore[arg-type]
        )  # fmt: skip
        service.send(FILES_STATUS, status.encode(), key=file_id)
        ids.add(file_id)
    return ids


def commanded(service: Service) -> set[str]:
    found = set()
    for record in read(service.brokers, FILES_SETTLE):
        with suppress(BadMessage):  # of another test
            command = Settle.decode(record.value or b"")
            found |= {command.file_id} if command.status.system == service.system else set()
    return found


def test_a_tracker_whose_handler_always_fails_sets_no_more_aside_than_its_budget_and_exits(service: Service) -> None:
    parsed(service, *NAMES)
    service.start(TRACKER, "always")
    assert service.exits() == 70
    assert_defects(service.letters(FILES_STATUS), BUDGET, FILES_STATUS)
    assert commanded(service) == set()


def test_a_tracker_sets_one_status_aside_on_which_its_handler_fails_and_invalid_ones(service: Service) -> None:
    files = parsed(service, *NAMES)
    (poison,) = parsed(service, "poison.xml")
    invalid = b'{"kind": [], "system": "%s"}' % service.system.encode()
    service.send(FILES_STATUS, invalid)
    files |= parsed(service, "B.xml")
    service.start(TRACKER, "one record")
    service.until(lambda: commanded(service) == files)
    service.until(lambda: len(unsettled(service.letters(FILES_STATUS))) == 2)
    defect, bad = unsettled(service.letters(FILES_STATUS))  # a rebalance may have written one again
    assert_defects([defect], 1, FILES_STATUS)
    assert FileStatus.decode(defect.value or b"").file_id == poison
    assert (bad.value, bad.headers["reason"]) == (invalid, "not a file-status")
    assert service.defects() == 1
    shown = list(record_failures(records_set_aside({}, {FILES_STATUS.name: [defect, bad], CYCLES.name: []})))
    assert [(failure.system, failure.reason) for failure in shown] == [
        (service.system, "defect: ValueError: planted"),
        (service.system, "not a file-status"),
    ]


def test_a_tracker_whose_handler_fails_once_sets_nothing_aside(service: Service) -> None:
    files = parsed(service, *NAMES)
    service.start(TRACKER, "once")
    service.until(lambda: commanded(service) == files)
    assert service.letters(FILES_STATUS) == []
    assert service.defects() == 0


class Planted(LedgerFollower):
    """A scanner's reader of the ledger that fails on the files of one system, or on one of them."""

    system = ""
    file_id = ""

    def record(self, status: FileStatus | FileProgress) -> None:
        if status.system == self.system and self.file_id in status.file_id:
            raise ValueError("planted")
        super().record(status)


def follower(service: Service, file_id: str = "") -> Planted:
    found = Planted(service.brokers, service.producer, DefectBudget(most=BUDGET))
    found.system, found.file_id = service.system, file_id
    return found


def test_a_scanner_sets_a_ledger_record_aside_once_however_often_it_starts(service: Service) -> None:
    files = parsed(service, *NAMES[:4], "poison.xml", *NAMES[4:])
    poison = file_identity(service.system, ELEMENT, "poison.xml", 1, 1)
    for _ in range(2):
        reader, stop = follower(service, poison), Event()
        thread = Thread(target=reader.follow, args=(stop,))
        thread.start()
        reader.catch_up(stop)
        stop.set()
        thread.join()
        assert files & reader.files.keys() == files - {poison}
        letters = service.letters(FILES_STATUS)
        assert_defects(letters, 1, FILES_STATUS)
        assert {letter.headers["reader"] for letter in letters} == {"scanner"}


def test_a_scanner_whose_reader_always_fails_sets_no_more_aside_than_its_budget(service: Service) -> None:
    parsed(service, *NAMES)
    with pytest.raises(TooManyDefects):
        follower(service).follow(Event())
    assert_defects(service.letters(FILES_STATUS), BUDGET, FILES_STATUS)
