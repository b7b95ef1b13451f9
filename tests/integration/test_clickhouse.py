"""Features that only the ClickHouse sink has, on the real engine: TTL, dictionary, views, data parts, embedding."""

import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient

from services.ch_bridge.comments import column_comment
from services.ch_bridge.cycles import cycle_table_statements
from services.ch_bridge.ddl import (
    CounterColumn,
    Deployment,
    TableState,
    create_database,
    create_object_table,
    next_statements,
)
from services.ch_bridge.repository import ClickhouseRepository
from services.ch_bridge.settings import Clickhouse
from services.ch_bridge.sink import ClickhouseBridge
from shared.errors import Hopeless
from shared.sinks.rules import StorageRules
from tests.integration.test_sinks import Database
from tools.cli.operate.stored import in_clickhouse
from tools.devstack.stack import Stack

ROOT = Path(__file__).parents[2]


class Bridge(Database):
    """A sink with a database of its own; tests may change its rules."""

    def __init__(self, at: Clickhouse) -> None:
        self.rules = StorageRules()
        self.clickhouse = ClickhouseRepository(at, lambda _: self.rules)
        super().__init__(
            lambda: ClickhouseBridge(self.clickhouse), lambda counters: in_clickhouse(at, "4ga", {self.group: counters})
        )

    def do(self, statement: str) -> None:
        self.clickhouse.connection.do(statement.format(table=f"4ga_{self.group}"))

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self.clickhouse.connection.ask(query.format(table=f"4ga_{self.group}"))]


@pytest.fixture(scope="module")
def at(stack: Stack) -> Clickhouse:
    return Clickhouse(url=f"{stack.clickhouse_url}/ch_{uuid.uuid4().hex[:8]}")


@pytest.fixture
def bridge(at: Clickhouse) -> Iterator[Bridge]:
    made = Bridge(at)
    yield made
    made.clickhouse.close()


def objects(bridge: Bridge) -> set[str]:
    return {measured for _, measured in bridge.rows()}


def test_a_changed_retention_applies_to_existing_tables(bridge: Bridge) -> None:
    bridge.write(bridge.batch([["old", 0, 1, 2]], end_s=86_400), bridge.batch([["new", 0, 1, 2]]))
    bridge.rules = StorageRules(retention_days=10_000)
    bridge.write(bridge.batch([["newer", 0, 1, 2]]), bridge.batch([["too old", 0, 1, 2]], end_s=86_400 + 900))
    bridge.do("OPTIMIZE TABLE `{table}_rows` FINAL")
    assert objects(bridge) == {"new", "newer"}
    bridge.rules = StorageRules(retention_days=0)
    bridge.write(bridge.batch([["old", 0, 1, 2]], end_s=86_400 + 900))
    bridge.do("OPTIMIZE TABLE `{table}_rows` FINAL")
    assert objects(bridge) == {"old", "new", "newer"}


def test_a_replay_of_any_number_of_days_is_one_insert(bridge: Bridge) -> None:
    """The server's default limit is a hundred partitions per insert."""
    bridge.write(*(bridge.batch([[f"o{n}", 0, 1, 2]], end_s=86_400 * n) for n in range(1, 150)))
    assert len(objects(bridge)) == 149


def test_objects_are_found_by_the_components_of_their_names(bridge: Bridge) -> None:
    bridge.rules = StorageRules(split_dn=True)
    names = ["ManagedElement=1,NRCellDU=3", "ManagedElement=1,NRCellDU=33", r"NRCellDU=3\,4", "no name"]
    bridge.write(bridge.batch([[name, 0, 1, 2] for name in names]))
    bridge.write(bridge.batch([[name, 0, 1, 2] for name in names[:2]], element="e2"))
    found = (
        "SELECT element, object FROM `{table}` WHERE (element, object) IN (SELECT element, object FROM pm_object WHERE "
    )
    assert sorted(bridge.ask(found + "dn['NRCellDU'] = '3')")) == [("e1", names[0]), ("e2", names[0])]
    assert bridge.ask(found + "dn['NRCellDU'] = '3,4')") == [("e1", names[2])]
    assert len(bridge.ask("SELECT * FROM pm_object")) == 6


def test_the_catalogue_has_the_unit_and_the_column_of_each_counter(bridge: Bridge) -> None:
    types, units = {"a": "integer"}, {"a": "it's a \\ unit", "ts": "s"}
    bridge.write(bridge.batch([["o", 0, 1, 2, 3]], counters=("a", "ts", "c"), types=types, units=units))
    columns = "SELECT type, comment FROM system.columns WHERE database = currentDatabase() AND table = '{table}_rows'"
    comment = column_comment("a", "it's a \\ unit")
    assert bridge.ask(columns + " AND name IN ('a', 'c') ORDER BY name") == [
        ("Nullable(Int64)", comment), ("Nullable(Float64)", column_comment("c", ""))
    ]  # fmt: skip
    assert bridge.ask(columns + " AND name LIKE 'ts\\\\_%'") == [("Nullable(Float64)", column_comment("ts", "s"))]
    bridge.write(bridge.batch([["o", 0, "up"]], counters=("a",), ver=2))
    assert bridge.ask(columns + " AND name = 'a'") == [("Nullable(String)", comment)]
    of_table = "FROM pm_counter WHERE table_name = '{table}' ORDER BY counter"
    assert bridge.ask("SELECT counter, unit " + of_table) == [("a", "it's a \\ unit"), ("c", ""), ("ts", "s")]
    group = "SELECT system, rows_table FROM pm_group WHERE measinfo = '" + bridge.group + "'"
    assert bridge.ask(group) == [("4ga", f"4ga_{bridge.group}_rows")]


def test_a_view_that_lacks_columns_of_its_table_is_replaced(at: Clickhouse, bridge: Bridge) -> None:
    batch = bridge.batch([["o1", 0, 1, 2]])
    bridge.write(batch)
    bridge.do("CREATE OR REPLACE VIEW `{table}` AS SELECT ts, element, object, gp_s, a FROM `{table}_rows`")
    other = ClickhouseRepository(at)
    ClickhouseBridge(other).write([batch], {})
    other.close()
    assert bridge.rows() == {("e1", "o1"): {"a": 1, "b": 2}}


def test_a_view_returns_the_same_before_and_after_merges(bridge: Bridge) -> None:
    for ver, values in ((3, [None, 3]), (1, [1, 1]), (2, [2, None]), (2, [2, None])):
        bridge.write(bridge.batch([["o1", 0, *values]], ver=ver))
    newest = {("e1", "o1"): {"a": 2, "b": 3}}
    assert bridge.rows() == newest
    bridge.do("OPTIMIZE TABLE `{table}_rows` FINAL")
    assert bridge.rows() == newest


def test_a_write_of_many_files_is_one_data_part_per_table_and_day(bridge: Bridge) -> None:
    bridge.write(*(bridge.batch([["o1", 0, n, n]], element=f"e{n}", counters=("a", f"c{n % 3}")) for n in range(200)))
    parts = "FROM system.parts WHERE active AND database = currentDatabase() AND table = '{table}_rows'"
    assert bridge.ask("SELECT count(), sum(rows) " + parts) == [(1, 200)]


def test_the_engine_parses_every_statement_of_a_cluster(bridge: Bridge) -> None:
    """The engine only parses them, as it has no cluster."""
    deployment = Deployment("pm", "ReplicatedReplacingMergeTree")
    there = TableState("s_G", ("s", "G"), {"a": CounterColumn("a", "number", "it's a unit")}, retention_days=7)
    statements = [
        create_database("pm", deployment),
        create_object_table(deployment),
        *next_statements(TableState("s_G", ("s", "G"), {}, exists=False), there, deployment),
        *next_statements(TableState("s_G", ("s", "G"), {}), there, deployment),
        *next_statements(there, TableState("s_G", ("s", "G"), {"a": CounterColumn("a", "text")}), deployment),
        *next_statements(there, TableState("s_G", ("s", "G"), {}, 7), deployment),
        *cycle_table_statements(deployment),
    ]
    for statement in statements:
        bridge.clickhouse.connection.do("EXPLAIN AST " + statement)
    with pytest.raises(Hopeless, match="SYNTAX_ERROR"):
        bridge.clickhouse.connection.do("EXPLAIN AST " + statements[0].replace("ON CLUSTER", "IN CLUSTER"))


EMBEDDED = """
import sys
from services.ch_bridge.cycles import cycle_table_statements
from services.ch_bridge.ddl import (
    CounterColumn, Deployment, TableState, create_database, create_object_table, next_statements,
)  # fmt: skip
from services.ch_bridge.repository import ClickhouseRepository
from services.ch_bridge.sink import ClickhouseBridge
from shared.messages import CounterBatch
from services.ch_bridge.settings import Clickhouse
from shared.sinks.rules import StorageRules
from tools.cli.operate.stored import in_clickhouse
at = Clickhouse(url=sys.argv[1])
clickhouse = ClickhouseRepository(at, lambda _: StorageRules(split_dn=True))
batch = CounterBatch(
    system="s", file_id="1", element="e", group="G", job="", gp_s=900, end_s=1_700_000_100, end_offset_min=0,
    ver=1, counters=["a", "b"], rows=[["Cell=1", 0, 1.5, "up"], ["Cell=2", 1, None, [1, 2]]],
)
for _ in range(2):
    ClickhouseBridge(clickhouse).write([batch], {})
print(clickhouse.connection.ask("SELECT currentDatabase()")[0][0])
for row in sorted(in_clickhouse(at, "s", {"G": {"a", "b"}}), key=lambda row: row.key):
    print(row.key[3], row.suspect, dict(row.values))
clickhouse.close()
"""


REPLICATED = """
import os, sys
import chdb
from services.ch_bridge.ddl import Deployment, TableState, next_statements
line = chdb.connect(sys.argv[1])
deployment = Deployment(engine="ReplicatedReplacingMergeTree('/pm/{table}', '{replica}')")
group = ("s", "G")
(create,) = next_statements(TableState("s_G", group, {}, exists=False), TableState("s_G", group, {}, 7), deployment)
line.query(create)
os._exit(0)  # the engine's own end waits for a replication it cannot do
"""


def test_the_engine_and_zookeeper_accept_a_replicated_table(stack: Stack, tmp_path: Path) -> None:
    """Only creation is tested: the embedded engine takes no rows, as it has no port for other replicas."""
    (tmp_path / "config.xml").write_text(
        f"<clickhouse><zookeeper><node><host>127.0.0.1</host><port>{stack.ports['zookeeper']}</port></node></zookeeper>"
        "<macros><replica>r1</replica></macros></clickhouse>"
    )
    assert run(REPLICATED, f"{tmp_path}/data?config-file={tmp_path}/config.xml") == []
    zookeeper = KazooClient(stack.zookeeper)
    zookeeper.start()
    assert zookeeper.get_children("/pm/s_G_rows/replicas") == ["r1"]
    zookeeper.stop()
    zookeeper.close()


def run(script: str, argument: str) -> list[str]:
    """Runs a script in a process of its own, as a process can have one engine only; returns its output."""
    argv = [sys.executable, "-c", script, argument]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_embedded_engine_stores_in_the_directory_of_the_url(tmp_path: Path) -> None:
    for _ in range(2):
        said = run(EMBEDDED, f"chdb://{tmp_path}/data?database=pm")
        assert said == ["pm", "Cell=1 False {'a': 1.5, 'b': 'up'}", "Cell=2 True {'b': '[1,2]'}"]
