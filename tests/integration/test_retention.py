"""Day partitions on MySQL and MariaDB: created ahead, dropped when all rows are too old; no row is lost or delayed."""

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from functools import partial

import pytest

from services.mysql_writer.partitions import LATER, partition_name
from services.mysql_writer.repository import Repository
from services.mysql_writer.retention import Retention
from services.mysql_writer.settings import Mysql, MysqlRules
from services.mysql_writer.sink import MysqlWriterWorker
from shared.errors import Unreachable
from shared.kafka.record import TopicPartition
from shared.sinks import metrics
from tests.integration import mariadb
from tests.integration.test_sinks import Database
from tools.cli.operate.stored import in_mysql
from tools.devstack.stack import Stack

DAY = timedelta(days=1)


@pytest.fixture(params=["mysql", *mariadb.IF_THERE])
def server(request: pytest.FixtureRequest, stack: Stack) -> Mysql:
    port = stack.mysql_port if request.param == "mysql" else request.getfixturevalue("mariadb_port")
    return Mysql(host="127.0.0.1", port=port, user="root", database=f"days_{uuid.uuid4().hex[:8]}")


class Kept(Database):
    """A table with a retention, its writer and its Retention."""

    def __init__(self, server: Mysql) -> None:
        self.rules = MysqlRules(retention_days=3)
        self.repository = Repository(server, lambda _: self.rules)
        self.retention = Retention(server)
        self.today = datetime.now(UTC).date()
        super().__init__(lambda: MysqlWriterWorker(self.repository), lambda _: in_mysql(server))

    @property
    def table(self) -> str:
        return f"4ga_{self.group.lower()}"

    def send(self, measured: str, days: int) -> None:
        """Stores a row of noon on a day counted from today."""
        noon = datetime.combine(self.today + days * DAY, time(12), UTC)
        self.write(self.batch([[measured, 0, 1, 2]], end_s=int(noon.timestamp())))

    def keep(self, days_from_now: int = 0) -> None:
        self.retention.keep("4ga", self.rules.retention_days or 0, self.today + days_from_now * DAY)

    def objects(self) -> list[str]:
        return sorted(measured for _, measured in self.rows())

    def partitions(self) -> list[str]:
        with self.repository.connection.transaction() as execute:
            return [
                found
                for (found,) in execute(
                    "SELECT partition_name FROM information_schema.partitions WHERE table_schema = DATABASE() "
                    "AND table_name = %s ORDER BY partition_ordinal_position",
                    (self.table,),
                )
            ]

    def named(self, first: int, last: int) -> list[str]:
        """Returns the names of the partitions for days counted from today, with the last one."""
        return [*(partition_name(self.today + n * DAY) for n in range(first, last + 1)), LATER]


@pytest.fixture
def kept(server: Mysql) -> Iterator[Kept]:
    made = Kept(server)
    yield made
    made.repository.close()
    made.retention.close()


def test_a_day_is_dropped_when_all_of_it_is_too_old_and_the_next_days_exist(kept: Kept) -> None:
    for days in (-3, -2, 0):
        kept.send(f"day {days}", days)
    assert kept.partitions() == kept.named(-3, 3)
    kept.keep()
    assert kept.objects() == ["day -2", "day -3", "day 0"]
    kept.keep(days_from_now=1)
    assert kept.partitions() == kept.named(-2, 4)
    assert kept.objects() == ["day -2", "day 0"]


def test_rows_of_days_without_a_partition_are_stored_and_dropped_in_time(kept: Kept) -> None:
    kept.send("today", 0)
    kept.keep(days_from_now=3)
    kept.send("late", -2)  # its day's partition is gone: by this clock nothing is too old yet
    kept.send("far ahead", 40)
    kept.send("ahead", 9)
    assert kept.objects() == ["ahead", "far ahead", "late", "today"]
    kept.keep(days_from_now=10)
    assert kept.partitions() == kept.named(7, 13)
    assert kept.objects() == ["ahead", "far ahead"]
    kept.keep(days_from_now=44)  # after a long rest the first new partition takes what is before it, too
    kept.keep(days_from_now=45)
    assert kept.objects() == []


def test_rows_older_than_the_retention_are_dropped_and_counted(kept: Kept) -> None:
    def dropped() -> float:
        return float(metrics.ROWS_DROPPED.labels("mysql", "4ga", "older than retention-days")._value.get())

    before = dropped()
    kept.send("kept", -3)
    kept.send("too old", -4)
    assert kept.objects() == ["kept"]
    assert dropped() == before + 1


def retried(do: Callable[[], object]) -> None:
    """Stores batches like the sink loop."""
    while True:
        try:
            do()
        except Unreachable:
            continue
        return


def test_writers_continue_while_partitions_are_created_and_dropped(kept: Kept, server: Mysql) -> None:
    kept.send("first", 0)

    def write(writer: int) -> None:
        repository = Repository(server, lambda _: kept.rules)
        partition = TopicPartition("pm.counters.4ga", writer)
        repository.take_over([partition])
        sink = MysqlWriterWorker(repository)
        for n in range(10):
            row = kept.batch([[f"o{writer}-{n}", 0, 1, 2]], end_s=int(datetime.now(UTC).timestamp()))
            retried(partial(sink.write, [row], {partition: n}))
        repository.close()

    def keep(_keeper: int) -> None:
        retention = Retention(server)
        for n in range(2):
            retention.keep("4ga", 3, kept.today + (n % 2) * DAY)
        retention.close()

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(lambda do: do[0](do[1]), [*((write, n) for n in range(3)), *((keep, n) for n in range(2))]))
    kept.keep(days_from_now=1)
    assert kept.partitions() == kept.named(-2, 4)
    assert len(kept.objects()) == 31


def test_a_table_older_than_the_retention_stays_unpartitioned_until_it_is_partitioned(kept: Kept) -> None:
    kept.rules = replace(kept.rules, retention_days=0)
    for days in (-400, -3, 0):
        kept.send(f"day {days}", days)
    kept.rules = replace(kept.rules, retention_days=3)
    kept.keep()
    assert kept.objects() == ["day -3", "day -400", "day 0"]
    assert kept.retention.unpartitioned("4ga") == [kept.table]
    kept.retention.partition(kept.table, 3, kept.today)
    kept.retention.partition(kept.table, 3, kept.today)
    assert kept.objects() == ["day -3", "day -400", "day 0"]
    kept.keep()
    assert kept.objects() == ["day -3", "day 0"]
    assert kept.retention.unpartitioned("4ga") == []
