"""Failures of a real MySQL: transient ones are retried, nothing is lost; ClickHouse does not hold up MySQL."""

import re
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from services.ch_bridge.repository import ClickhouseRepository
from services.ch_bridge.settings import Clickhouse
from services.ch_bridge.sink import ClickhouseBridge
from services.mysql_writer.repository import Repository
from services.mysql_writer.settings import Mysql
from services.mysql_writer.sink import MysqlWriterWorker
from shared.errors import Unreachable
from shared.messages import CounterBatch
from tests.integration.mysqls import administrator
from tests.integration.test_sink_loop import Running, eventually
from tests.integration.test_sinks import PARTITION, Database
from tools.cli.operate.stored import in_clickhouse, in_mysql
from tools.devstack.stack import Stack


@pytest.fixture(scope="module")
def mysql(stack: Stack) -> Mysql:
    return Mysql(host=stack.mysql_host, port=stack.mysql_port, user="root", database=f"fail_{uuid.uuid4().hex[:8]}")


@pytest.fixture
def repository(mysql: Mysql) -> Iterator[Repository]:
    made = Repository(mysql)
    yield made
    made.close()


@pytest.fixture
def database(mysql: Mysql, repository: Repository) -> Database:
    """A database that already has one row."""
    sink = MysqlWriterWorker(repository)
    made = Database(lambda: sink, lambda _: in_mysql(mysql), repository.close)
    made.write(made.batch([["o1", 0, 1, 2]]))
    return made


OLD = {("e1", "o1"): {"a": 1, "b": 2}}
NEW = {("e1", "o1"): {"a": 3, "b": 4}}


def newer(database: Database) -> CounterBatch:
    return database.batch([["o1", 0, 3, 4]], ver=2)


@contextmanager
def waiting_for_a_lock(
    mysql: Mysql, database: Database, repository: Repository, lock: str
) -> Iterator[tuple[Callable[[str], Any], Future[None], int]]:
    """Yields while a write waits for a lock of another client: that client, the write, its connection's number."""
    with repository.connection.transaction() as ours:
        ((number,),) = ours("SELECT CONNECTION_ID()")
    with administrator(mysql) as execute, administrator(mysql) as watch, ThreadPoolExecutor(1) as pool:
        execute("BEGIN")
        execute(lock)
        write = pool.submit(database.write, newer(database))
        waits = re.compile(rf"LOCK WAIT[^\n]*\nMySQL thread id {number},")
        eventually(lambda: waits.search(watch("SHOW ENGINE INNODB STATUS")[0][2]))  # innodb_trx is a cache
        yield execute, write, number
        execute("ROLLBACK")


def table_of(database: Database) -> str:
    return f"`4ga_{database.group.lower()}`"


def test_the_victim_of_a_deadlock_stores_nothing_at_first_and_everything_on_retry(
    mysql: Mysql, database: Database, repository: Repository
) -> None:
    position = f"SELECT * FROM pm_position WHERE topic = '{PARTITION[0]}' FOR UPDATE"
    with administrator(mysql) as execute:
        execute("CREATE TABLE heavy (n INT)")
    with waiting_for_a_lock(mysql, database, repository, position) as (execute, write, _):
        execute(f"INSERT INTO heavy VALUES {', '.join(['(1)'] * 1000)}")  # the lighter transaction is the victim
        execute(f"SELECT * FROM {table_of(database)} FOR UPDATE")
        with pytest.raises(Unreachable, match="Deadlock"):
            write.result()
    assert database.rows() == OLD
    database.write(newer(database))
    assert database.rows() == NEW


def test_a_lock_wait_that_times_out_is_retried(mysql: Mysql, database: Database, repository: Repository) -> None:
    with repository.connection.transaction() as execute:
        execute("SET SESSION innodb_lock_wait_timeout = 2")
    held = f"SELECT * FROM {table_of(database)} FOR UPDATE"
    with waiting_for_a_lock(mysql, database, repository, held) as (_, write, _number):
        assert isinstance(failure := write.exception(), Unreachable)
        assert "Lock wait timeout" in str(failure)
    assert database.rows() == OLD
    database.write(newer(database))
    assert database.rows() == NEW


def test_a_connection_lost_in_mid_statement_leaves_nothing_half_stored(
    mysql: Mysql, database: Database, repository: Repository
) -> None:
    held = f"SELECT * FROM {table_of(database)} FOR UPDATE"
    with waiting_for_a_lock(mysql, database, repository, held) as (execute, write, number):
        execute(f"KILL {number}")
        with pytest.raises(Unreachable):
            write.result()
    assert database.rows() == OLD
    database.write(newer(database))
    assert database.rows() == NEW


@pytest.mark.parametrize("change", ["ALTER TABLE {} DROP COLUMN b", "DROP TABLE {}"])
def test_a_schema_changed_by_others_is_read_again_and_repaired(mysql: Mysql, database: Database, change: str) -> None:
    with administrator(mysql) as execute:
        execute(change.format(table_of(database)))
    with pytest.raises(Unreachable):
        database.write(newer(database))
    database.write(newer(database))
    assert database.rows() == NEW


def test_clickhouse_that_is_down_does_not_hold_up_mysql_and_catches_up(
    stack: Stack, mysql: Mysql, repository: Repository
) -> None:
    clickhouse = ClickhouseRepository(Clickhouse(url="http://127.0.0.1:1/x"))
    at = Clickhouse(url=f"{stack.clickhouse_url}/{mysql.database}")
    first = Running(stack.kafka, MysqlWriterWorker(repository))
    second = Running(stack.kafka, ClickhouseBridge(clickhouse), first.topic)
    system = first.topic.name.rsplit(".", 1)[1]
    batches = [batch(system, f"o{n}") for n in range(3)]
    try:
        second.start()
        first.start()
        first.send(*(one.encode() for one in batches))
        eventually(lambda: first.position() == len(batches))
        assert second.position() == 0
        clickhouse.connection.settings = at  # it is back
        eventually(lambda: second.position() == len(batches))
    finally:
        first.end()
        second.end()
        clickhouse.close()
    stored = {row.key: row.values for row in in_mysql(mysql) if row.key[0] == system}
    assert len(stored) == len(batches)
    there = in_clickhouse(at, system, {"G": {"a"}})
    assert {row.key: row.values for row in there} == stored


def batch(system: str, measured: str) -> CounterBatch:
    return CounterBatch(
        system=system, file_id="1" * 16, element="e", group="G", job="", gp_s=900, end_s=1_700_000_100,
        end_offset_min=0, ver=1, counters=["a"], rows=[[measured, 0, 1.0]],
    )  # fmt: skip


def test_rows_too_large_for_one_packet_are_split_and_a_row_that_never_fits_is_refused(
    mysql: Mysql, database: Database
) -> None:
    rows = [[f"o{n}", 0, "x" * 100_000, n] for n in range(20)]
    with administrator(mysql) as execute:
        ((before,),) = execute("SELECT @@GLOBAL.max_allowed_packet")
        execute("SET GLOBAL max_allowed_packet = 1048576")
        try:
            database.disconnect()
            aside = database.land(database.batch([*rows[:10], ["large", 0, "x" * 600_000, 1], *rows[10:]]))
        finally:
            execute(f"SET GLOBAL max_allowed_packet = {before}")
    ((batch, reason),) = aside
    assert [row[0] for row in batch.rows] == ["large"]
    assert "max_allowed_packet" in reason
    assert database.rows() == {("e1", f"o{n}"): {"a": "x" * 100_000, "b": n} for n in range(20)}


def test_a_connection_that_died_while_idle_is_reopened_before_it_is_used(mysql: Mysql, database: Database) -> None:
    database.write(database.batch([["o1", 0, 1, 2]]))
    with administrator(mysql) as execute:
        for (number,) in execute(
            f"SELECT id FROM information_schema.processlist WHERE db = '{mysql.database}' AND id <> CONNECTION_ID()"
        ):
            execute(f"KILL {number}")
    database.write(database.batch([["o2", 0, 3]], counters=("c",)))
    assert database.rows("a", "b", "c") == {("e1", "o1"): {"a": 1, "b": 2}, ("e1", "o2"): {"c": 3}}


def test_a_read_only_server_is_unreachable_and_stores_everything_afterwards(mysql: Mysql, database: Database) -> None:
    database.write(database.batch([["o1", 0, 1, 2]]))
    with administrator(mysql) as execute:
        execute("SET GLOBAL super_read_only = ON")
        try:
            with pytest.raises(Unreachable):
                database.write(database.batch([["o2", 0, 3, 4]]))
        finally:
            execute("SET GLOBAL read_only = OFF")
    database.write(database.batch([["o2", 0, 3, 4]]))
    assert len(database.rows()) == 2
