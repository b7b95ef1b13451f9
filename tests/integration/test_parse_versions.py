"""A file that is parsed again replaces its own values; two endpoints that deliver one element are detected."""

import logging
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest

from services.ch_bridge.connection import Connection
from services.ch_bridge.settings import Clickhouse
from services.mysql_writer.files import FileTable
from services.mysql_writer.settings import Mysql
from shared.sinks import metrics
from tests.integration.test_file_history import statuses
from tests.integration.test_sinks import Database, database, mysql
from tools.devstack.stack import Stack

__all__ = ["database", "mysql"]
FIRST, AGAIN = 1_790_000_000, 1_790_000_900


@pytest.fixture
def merged(request: pytest.FixtureRequest, stack: Stack, mysql: Mysql) -> Callable[[Database], None]:
    """Merges the parts of a ClickHouse table, as the server does some time."""

    def merge(database: Database) -> None:
        if database.sink.name == "clickhouse":
            connection = Connection(Clickhouse(url=f"{stack.clickhouse_url}/{mysql.database}"))
            connection.do(f"OPTIMIZE TABLE `4ga_{database.group}_rows` FINAL")
            connection.close()

    return merge


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_values_of_the_latest_parse_win_in_any_order_before_and_after_merges(
    database: Database, merged: Callable[[Database], None], order: tuple[int, ...]
) -> None:
    parses = [
        database.batch([["o1", 0, 10, 1]], parsed_s=FIRST),
        database.batch([["o1", 1, 20]], ("a",), parsed_s=AGAIN),  # another unit; counter b was renamed to c
        database.batch([["o1", 1, 2]], ("c",), parsed_s=AGAIN),
    ]
    for at in order:
        database.write(parses[at])
    expected = {("e1", "o1"): {"a": 20, "b": 1, "c": 2}}
    assert database.rows("a", "b", "c") == expected
    merged(database)
    assert database.rows("a", "b", "c") == expected


def test_a_part_of_a_replay_does_not_bring_values_of_an_earlier_parse_back(
    database: Database, merged: Callable[[Database], None]
) -> None:
    many = [[f"o{n}", 0, n, 1] for n in range(3000)]
    database.write(database.batch(many, parsed_s=FIRST))
    database.write(database.batch([[name, 0, -1, 1] for name, *_ in many], parsed_s=AGAIN))
    database.write(database.batch(many, parsed_s=FIRST))
    assert {row["a"] for row in database.rows().values()} == {-1}
    merged(database)
    assert {row["a"] for row in database.rows().values()} == {-1}


def test_a_newer_file_wins_however_late_the_older_one_was_parsed(database: Database) -> None:
    database.write(database.batch([["o1", 0, 2, 2]], ver=2, parsed_s=FIRST))
    database.write(database.batch([["o1", 0, 1, None]], ver=1, parsed_s=AGAIN))
    assert database.rows() == {("e1", "o1"): {"a": 2, "b": 2}}


@pytest.fixture
def files(mysql: Mysql) -> Iterator[FileTable]:
    table = FileTable(replace(mysql, database=f"two_{uuid.uuid4().hex[:8]}"))
    yield table
    table.close()


def counted(system: str) -> Any:
    return metrics.CONFLICTING_FILES.labels(system)._value.get()


def test_two_endpoints_that_deliver_the_same_element_are_reported_by_name(
    files: FileTable, caplog: pytest.LogCaptureFixture
) -> None:
    system = f"s{uuid.uuid4().hex[:8]}"
    _, _, parsed, *_ = statuses(system)
    same = [replace(statuses(system)[2], endpoint=name) for name in ("oss-1", "oss-2", "oss-2")]
    other_element = replace(statuses(system)[2], endpoint="oss-3", managed_element="ManagedElement=2")
    other_period = replace(statuses(system)[2], endpoint="oss-4", end_s=parsed.end_s + 900)
    with caplog.at_level(logging.WARNING):
        files.keep([parsed, other_element, other_period])
        files.keep(same[:1])
        assert counted(system) == 0
        files.keep(same[1:])
        files.keep([replace(statuses("another")[2], endpoint="oss-5")])
    (warning,) = (record for record in caplog.records if record.message == "element delivered by two endpoints")
    assert (warning.system, warning.element, warning.endpoints) == (  # type: ignore[attr-defined]
        system, "ManagedElement=1", ["oss-1", "oss-2"],
    )  # fmt: skip
    assert counted(system) == 2
