"""Cold starts: four writers create the same tables in an empty database at the same moment."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest

from services.mysql_writer.connection import Connection
from services.mysql_writer.repository import Repository
from services.mysql_writer.settings import Mysql
from services.mysql_writer.sink import MysqlWriterWorker
from shared.errors import Unreachable
from shared.kafka.record import TopicPartition
from shared.messages import CounterBatch
from tests.integration import mariadb
from tests.integration.mysqls import administrator, served

STARTS, WRITERS, GROUPS, COUNTERS = 25, 4, 4, 50
MOST_TRIES = 20
HANDOVERS = 100


@pytest.fixture(scope="module", params=["mysql", *mariadb.IF_THERE])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mysql]:
    with served(request.param, tmp_path_factory.mktemp(request.param)) as mysql:
        yield mysql


def batch(element: str, group: str) -> CounterBatch:
    return CounterBatch(
        system="4ga", file_id="0" * 16, element=element, group=group, job="", gp_s=900, end_s=1_700_000_100,
        end_offset_min=0, ver=1, counters=[f"c{n}" for n in range(COUNTERS)],
        rows=[["o", 0, *range(COUNTERS)]],
    )  # fmt: skip


def write(mysql: Mysql, writer: int, together: Barrier) -> None:
    """Writes one row to each group; tries again when the database asks for it, as the loop of a sink does."""
    repository, at = Repository(mysql), TopicPartition("pm.counters.4ga", writer)
    sink = MysqlWriterWorker(repository)
    sink.resume([at])
    together.wait(30)
    for group in range(GROUPS):
        for _ in range(MOST_TRIES):
            try:
                sink.write([batch(f"e{writer}", f"G{group}")], {at: group + 1})
            except Unreachable:
                continue
            break
    repository.close()


def test_writers_that_start_together_on_an_empty_database_store_every_row(server: Mysql) -> None:
    with ThreadPoolExecutor(WRITERS) as pool:
        for start in range(STARTS):
            mysql, together = replace(server, database=f"cold_{start}"), Barrier(WRITERS)
            writes = [pool.submit(write, mysql, writer, together) for writer in range(WRITERS)]
            for one in writes:
                one.result()
            with administrator(mysql) as execute:
                for group in range(GROUPS):
                    assert execute(f"SELECT COUNT(*), SUM(c{COUNTERS - 1}) FROM `4ga_g{group}`") == (
                        (WRITERS, WRITERS * (COUNTERS - 1)),
                    )
                execute(f"DROP DATABASE `{mysql.database}`")


def count_up(mysql: Mysql, together: Barrier) -> None:
    connection = Connection(mysql, ["CREATE TABLE IF NOT EXISTS numbers (n INT PRIMARY KEY)"])
    with connection.transaction():
        together.wait(30)
    for _ in range(HANDOVERS):
        with connection.ddl("numbers") as execute:
            ((highest,),) = execute("SELECT COALESCE(MAX(n), 0) FROM numbers")
            execute("INSERT INTO numbers VALUES (%s)", (highest + 1,))
    connection.close()


def test_the_next_writer_that_gets_a_tables_lock_sees_what_the_one_before_wrote(server: Mysql) -> None:
    mysql, together = replace(server, database="handovers"), Barrier(WRITERS)
    with ThreadPoolExecutor(WRITERS) as pool:
        for one in [pool.submit(count_up, mysql, together) for _ in range(WRITERS)]:
            one.result()
    with administrator(mysql) as execute:
        assert execute("SELECT COUNT(*), MAX(n) FROM numbers") == ((WRITERS * HANDOVERS, WRITERS * HANDOVERS),)
