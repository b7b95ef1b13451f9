"""pm_file in both databases: one row per file, the same in any order of delivery, found from any row of a counter."""

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from threading import Event, Thread
from time import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.ch_bridge.connection import Connection, client_of
from services.ch_bridge.files import FileTable as ClickhouseFiles
from services.ch_bridge.settings import Clickhouse
from services.mysql_writer.connection import connect
from services.mysql_writer.ddl import placeholders
from services.mysql_writer.files import CONFLICTS
from services.mysql_writer.files import FileTable as MysqlFiles
from services.mysql_writer.settings import Mysql
from shared.errors import Hopeless
from shared.health import Heartbeat
from shared.kafka import admin
from shared.kafka.consume import Consumer
from shared.kafka.dead_letters import DeadLetters
from shared.kafka.produce import Outgoing, Producer, about_element
from shared.messages import FileStatus, SinkPosition, file_identity
from shared.sinks.files import KEPT_STATUSES, LONGEST_TEXT, file_status
from shared.sinks.keeper import TableKeeper
from shared.topics import FILES_STATUS
from shared.versions import version_of
from tests.integration import mariadb
from tests.integration.test_sink_loop import eventually, read
from tools.devstack.stack import Stack

NOW_S = float(int(time()) - 3600)
TIMES = ("ts", "found", "fetched", "parsed", "stored", "changed")


@dataclass
class History:
    """The table of one database, and what a reader finds there."""

    keep: Callable[[Sequence[FileStatus]], None]
    ask: Callable[[str], Sequence[Sequence[Any]]]
    retention: dict[str, int | None]

    def row(self, file_id: str, *columns: str) -> tuple[Any, ...]:
        names = ", ".join(f"`{column}`" for column in columns)
        (found,) = self.ask(f"SELECT {names} FROM pm_file WHERE file_id = '{file_id}'")
        return tuple(value.replace(tzinfo=UTC).timestamp() if isinstance(value, datetime) else value for value in found)


@pytest.fixture(params=["mysql", *mariadb.IF_THERE, "clickhouse"])
def history(request: pytest.FixtureRequest, stack: Stack) -> Iterator[History]:
    name, retention = f"files_{uuid.uuid4().hex[:8]}", dict[str, int | None]()
    if request.param == "clickhouse":
        clickhouse = Clickhouse(url=f"{stack.clickhouse_url}/{name}")
        connection = Connection(clickhouse)
        yield History(
            ClickhouseFiles(connection, retention.get).keep,
            lambda query: client_of(clickhouse).query(query).result_rows,
            retention,
        )
        connection.close()
        return
    port = request.getfixturevalue("mariadb_port") if request.param == "mariadb" else stack.mysql_port
    mysql = Mysql(host=stack.mysql_host, port=port, user="root", database=name)

    def ask(query: str) -> Sequence[Any]:
        with connect(mysql, name) as line, line.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())

    table = MysqlFiles(mysql, retention.get)
    yield History(table.keep, ask, retention)
    table.close()


def statuses(system: str = "4ga") -> list[FileStatus]:
    """The life of a file that is stored and then, an hour later, announced by a backfill to be parsed once more."""
    path = f"/pm/A{uuid.uuid4().hex}.xml"
    identity = file_identity(system, "oss-1", path, 10, int(NOW_S))
    found = FileStatus(
        file_id=identity, system=system, endpoint="oss-1", element="gnb-1", path=path, size=10, mtime_s=int(NOW_S),
        epoch=1, stage="found", at_s=NOW_S, found_s=NOW_S, end_s=1_700_000_100,
    )  # fmt: skip
    parsed = replace(
        found, stage="parsed", at_s=NOW_S + 2, fetched_s=NOW_S + 1, parsed_s=NOW_S + 2, reason="a remark",
        topic="pm.counters.4ga", partition=3, last_offset=9, batches=2, rows=20, suspect=1, values=60, nulls=3,
        quarantined=4, dropped=5, job="job-1", sw_version="R21", managed_element="ManagedElement=1",
    )  # fmt: skip
    return [
        found,
        replace(found, stage="fetching", at_s=NOW_S + 0.5),
        parsed,
        # by the clock of another fetcher, which is behind
        replace(parsed, stage="done", at_s=NOW_S + 1.5, stored_s=NOW_S + 3),
        replace(found, stage="found", at_s=NOW_S + 3000, lies_at="/pm/done/A"),
    ]


FIGURES = ("batches", "rows", "suspect", "values", "nulls", "quarantined", "dropped", "job", "sw_version")


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(4)), again=st.lists(st.integers(0, 3), max_size=3), together=st.booleans())
def test_a_file_has_one_row_in_any_order_of_its_statuses(
    history: History, order: list[int], again: list[int], together: bool
) -> None:
    life = statuses()
    delivered = [life[at] for at in [*order, *again]]
    for part in [delivered] if together else [[status] for status in delivered]:
        history.keep(part)
    file = life[0]
    assert history.row(file.file_id, "ver", "endpoint", "element", "path", "stage", "reason") == (
        version_of(file.file_id, file.mtime_s), "oss-1", "gnb-1", file.path, "done", "a remark",
    )  # fmt: skip
    assert history.row(file.file_id, *FIGURES) == (2, 20, 1, 60, 3, 4, 5, "job-1", "R21")
    assert history.row(file.file_id, *TIMES) == (
        1_700_000_100, NOW_S, NOW_S + 1, NOW_S + 2, NOW_S + 3, NOW_S + 2,
    )  # fmt: skip


def test_an_announcement_changes_the_stage_of_a_stored_file_but_not_its_figures(history: History) -> None:
    life = statuses()
    history.keep(life)
    assert history.row(life[0].file_id, "stage", "tries", *FIGURES) == (
        "found", 1, 2, 20, 1, 60, 3, 4, 5, "job-1", "R21",
    )  # fmt: skip
    once_more = replace(life[3], at_s=NOW_S + 3010, parsed_s=NOW_S + 3005, values=61, job="job-2")
    history.keep([once_more])
    assert history.row(life[0].file_id, "stage", "values", "job") == ("done", 61, "job-2")
    history.keep([life[2]])  # a replay of the ledger
    assert history.row(life[0].file_id, "stage", "values", "job") == ("done", 61, "job-2")


def test_an_unreadable_file_is_a_row_with_its_reason_and_without_unknown_times(history: History) -> None:
    failed = replace(statuses()[0], stage="failed", reason="x" * 100_000, end_s=0, at_s=NOW_S + 1)
    history.keep([failed])
    assert history.row(failed.file_id, "stage", "reason", "values", "ts", "parsed") == (
        "failed", "x" * LONGEST_TEXT, 0, None, None,
    )  # fmt: skip


def test_rows_older_than_the_retention_are_dropped_and_do_not_come_back(history: History) -> None:
    system, other = f"s{uuid.uuid4().hex[:6]}", f"s{uuid.uuid4().hex[:6]}"
    old = [replace(status, at_s=NOW_S - 40 * 86_400) for status in statuses(system)[:1]]
    history.keep([*old, *statuses(system)[:1], *(replace(status, system=other) for status in old)])
    history.retention[system] = 30
    history.keep(statuses(system)[:1])
    history.keep(old)
    count = "SELECT count(*) FROM pm_file WHERE `system` = '{}'"
    assert [history.ask(count.format(name))[0][0] for name in (system, other)] == [2, 1]


@pytest.mark.parametrize("server", ["mysql", *mariadb.IF_THERE])
def test_a_file_is_compared_with_the_files_of_its_element_and_period_only(
    server: str, stack: Stack, request: pytest.FixtureRequest
) -> None:
    port = request.getfixturevalue("mariadb_port") if server == "mariadb" else stack.mysql_port
    mysql = Mysql(host=stack.mysql_host, port=port, user="root", database=f"files_{uuid.uuid4().hex[:8]}")
    life = [replace(statuses()[2], endpoint=f"e{n}", managed_element=f"ManagedElement={n}") for n in range(1000)]
    table = MysqlFiles(mysql)
    asked = [status.file_id for status in life[:20]]
    table.keep([replace(status, stage="found", managed_element="") for status in life])
    with connect(mysql, mysql.database) as line, line.cursor() as cursor:
        cursor.execute("ANALYZE TABLE pm_file")  # statistics of a moment at which no element is known
        table.keep(life)
        assert cursor.execute(CONFLICTS.format(files=placeholders(asked)), asked) == 0
        cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read_%'")
        assert sum(int(reads) for _, reads in cursor.fetchall()) < 10 * len(asked)
    table.close()


def test_only_statuses_of_files_are_rows() -> None:
    status = statuses()[0]
    position = SinkPosition(sink="mysql", topic="t", partition=0, next_offset=1)
    assert [file_status(value) for value in (status.encode(), position.encode(), None)] == [status, None, None]


def test_a_status_that_cannot_be_stored_is_set_aside_and_the_others_are_kept(stack: Stack) -> None:
    admin.provision(stack.kafka, [FILES_STATUS, FILES_STATUS.dead_letters])
    system, kept = f"s{uuid.uuid4().hex[:8]}", list[FileStatus]()
    life, producer = statuses(system), Producer(stack.kafka)

    class Table:
        def keep(self, some: Sequence[FileStatus], /) -> None:
            if any(status.system == system and status.stage == "parsed" for status in some):
                raise Hopeless("refused")
            kept.extend(status for status in some if status.system == system)

        def renew(self) -> None:
            raise AssertionError("no defect")

    producer.deliver(*(about_element(FILES_STATUS, s.element, s.file_id, s.encode()) for s in life))
    producer.deliver(Outgoing(FILES_STATUS.name, 3, life[0].file_id, None))
    keeper = TableKeeper(KEPT_STATUSES, Consumer(stack.kafka, system), DeadLetters(producer), Table(), Heartbeat(""))
    stop = Event()
    thread = Thread(target=keeper.run, args=(stop,))
    thread.start()
    ends = admin.ends(stack.kafka, FILES_STATUS)
    eventually(lambda: ends.items() <= admin.committed(stack.kafka, system, FILES_STATUS).items())
    stop.set()
    thread.join()
    assert [status.stage for status in kept] == ["found", "fetching", "done", "found"]
    producer.close()
    letters = [record for record in read(stack.kafka, FILES_STATUS.dead_letters) if record.value == life[2].encode()]
    assert [letter.headers["reason"] for letter in letters] == ["refused"]
