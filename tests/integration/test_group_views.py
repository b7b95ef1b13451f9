"""The views of groups in MySQL and MariaDB, and the numbers and memory of objects behind them."""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from services.mysql_writer.repository import Repository
from services.mysql_writer.settings import Mysql, MysqlRules
from services.mysql_writer.sink import MysqlWriterWorker
from shared.messages import CounterBatch
from tests.integration import mariadb
from tests.integration.mysqls import administrator
from tools.devstack.stack import Stack

CELL, BEAM = "ManagedElement=1,GNBDUFunction=2,NRCellDU=3", "ManagedElement=1,GNBDUFunction=2,NRCellDU=3,Beam=4"


class Writer:
    """A writer and a reader of a database of their own."""

    def __init__(self, mysql: Mysql, **options: Any) -> None:
        self.mysql = mysql
        self.repository = Repository(mysql, lambda _: MysqlRules(split_dn=True), **options)
        self.sink = MysqlWriterWorker(self.repository)

    def write(self, group: str, *rows: list[Any], counters: Sequence[str] = ("a",), element: str = "e1") -> None:
        batch = CounterBatch(
            system="4ga", file_id="0" * 16, element=element, group=group, job="", gp_s=900, end_s=1_700_000_100,
            end_offset_min=0, ver=1, counters=list(counters), rows=list(rows),
        )  # fmt: skip
        self.sink.write([batch], {})

    def ask(self, query: str) -> list[dict[str, Any]]:
        with self.repository.connection.transaction() as execute, execute.connection.cursor() as cursor:
            cursor.execute(query)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


@pytest.fixture(params=["mysql", *mariadb.IF_THERE])
def mysql(request: pytest.FixtureRequest, stack: Stack) -> Mysql:
    port = request.getfixturevalue("mariadb_port") if request.param == "mariadb" else stack.mysql_port
    return Mysql(host=stack.mysql_host, port=port, user="root", database=f"views_{uuid.uuid4().hex[:8]}")


@pytest.fixture
def writer(mysql: Mysql) -> Iterator[Writer]:
    made = Writer(mysql)
    yield made
    made.repository.close()


def test_a_view_has_what_a_reader_asks_for_and_only_the_components_of_its_objects(writer: Writer) -> None:
    writer.write("Cell", [CELL, 0, 5])
    writer.write("Beam", [BEAM, 1, 6])
    (row,) = writer.ask("SELECT * FROM `4ga_cell_all`")
    assert f"{row.pop('ts')} {row.pop('ver')} {row.pop('obj')}" == "2023-11-14 22:15:00 1 1"
    assert row == {
        "element": "e1", "object": CELL, "ManagedElement": "1", "GNBDUFunction": "2", "NRCellDU": "3",
        "gp_s": 900, "suspect": 0, "a": 5,
    }  # fmt: skip
    (row,) = writer.ask("SELECT Beam, a FROM `4ga_beam_all` WHERE NRCellDU = '3'")
    assert row == {"Beam": "4", "a": 6}


def test_a_view_gets_the_counters_and_components_that_come_later_even_if_it_was_dropped(writer: Writer) -> None:
    writer.write("Cell", [CELL, 0, 5])
    writer.write("Beam", [BEAM, 0, 5])
    writer.write("Cell", [BEAM, 0, 7])  # an object that the writer knows, from another group
    writer.write("Cell", [CELL, 0, 8], counters=["NRCellDU"])  # a counter that is called like a component
    rows = writer.ask("SELECT object, a, Beam, NRCellDU, _NRCellDU FROM `4ga_cell_all` ORDER BY object")
    assert [tuple(row.values()) for row in rows] == [(CELL, 5, None, 8, "3"), (BEAM, 7, "4", None, "3")]
    with administrator(writer.mysql) as execute:
        execute("DROP VIEW `4ga_cell_all`")
    again = Writer(writer.mysql)
    again.write("Cell", [BEAM, 0, 7])
    again.repository.close()
    assert len(writer.ask("SELECT a, Beam, NRCellDU, _NRCellDU FROM `4ga_cell_all`")) == 2


def test_a_view_that_cannot_be_created_holds_up_no_row(writer: Writer) -> None:
    writer.write("First", [CELL, 0, 1])
    with administrator(writer.mysql) as execute:
        execute("DROP USER IF EXISTS viewless")
        execute("CREATE USER viewless IDENTIFIED BY 'x'")
        execute("GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, DROP ON *.* TO viewless")
    without = Writer(replace(writer.mysql, user="viewless", password="x"))
    without.write("Beam", [BEAM, 0, 6])
    without.write("Beam", [CELL, 0, 7])
    without.repository.close()
    assert [row["a"] for row in writer.ask("SELECT a FROM `4ga_beam` ORDER BY a")] == [6, 7]
    writer.write("Beam", [BEAM, 0, 6])  # a writer that may
    assert [row["a"] for row in writer.ask("SELECT a FROM `4ga_beam_all` ORDER BY a")] == [6, 7]


def test_restarts_and_forgetting_use_up_no_numbers(writer: Writer) -> None:
    objects = [[f"{CELL},X={n}", 0, n] for n in range(50)]
    writer.write("Cell", *objects)
    for _ in range(5):
        again = Writer(writer.mysql, objects_in_memory=20)
        for element in ("e1", "e2"):
            again.write("Cell", *objects, element=element)
        again.repository.close()
    again = Writer(writer.mysql)
    again.write("Cell", *objects, ["a new one", 0, 1])
    again.repository.close()
    found = writer.ask("SELECT id, ldn FROM pm_object ORDER BY id")
    assert [row["id"] for row in found] == list(range(1, 102))
    assert found[-1]["ldn"] == "a new one"


def test_a_writer_that_remembers_few_objects_stores_the_same_rows(writer: Writer) -> None:
    forgetful = Writer(writer.mysql, objects_in_memory=30)
    elements = ("e1", "e2", "e3", "e4", "e5")
    for element in elements * 2:
        forgetful.write("Cell", *[[f"C={n}", 0, n] for n in range(25)], element=element)
        assert len(forgetful.repository.objects.cache) <= 75  # those of an element are forgotten together
    forgetful.repository.close()
    found = writer.ask("SELECT element, object, a FROM `4ga_cell_all` ORDER BY element, a")
    assert [tuple(row.values()) for row in found] == [(element, f"C={n}", n) for element in elements for n in range(25)]
