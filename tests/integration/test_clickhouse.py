"""What ClickHouse alone has or does, on the real engine: retention, the object dictionary, views, parts, embedding."""

import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient

from services.ch_bridge import cycles, statements
from services.ch_bridge.bridge import ClickhouseBridge
from services.ch_bridge.clickhouse import ClickHouse
from services.ch_bridge.settings import Clickhouse, Rules
from services.ch_bridge.statements import Column, Table, Where
from shared.errors import Unreachable
from tests.integration.test_sinks import Database
from tools.cli.operate.stored import in_clickhouse
from tools.devstack.stack import Stack

ROOT = Path(__file__).parents[2]


class Bridge(Database):
    """A bridge to a database of its own, whose rules a test may change."""

    def __init__(self, at: Clickhouse) -> None:
        self.rules = Rules()
        self.clickhouse = ClickHouse(at, lambda _: self.rules)
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


def test_a_changed_retention_reaches_the_table_that_is_there(bridge: Bridge) -> None:
    bridge.write(bridge.batch([["old", 0, 1, 2]], end_s=86_400), bridge.batch([["new", 0, 1, 2]]))
    bridge.rules = Rules(retention_days=10_000)
    bridge.write(bridge.batch([["newer", 0, 1, 2]]), bridge.batch([["too old", 0, 1, 2]], end_s=86_400 + 900))
    bridge.do("OPTIMIZE TABLE `{table}_rows` FINAL")
    assert objects(bridge) == {"new", "newer"}
    bridge.rules = Rules(retention_days=0)
    bridge.write(bridge.batch([["old", 0, 1, 2]], end_s=86_400 + 900))
    bridge.do("OPTIMIZE TABLE `{table}_rows` FINAL")
    assert objects(bridge) == {"old", "new", "newer"}


def test_a_replay_of_any_number_of_days_is_one_insert(bridge: Bridge) -> None:
    """By itself the server takes a hundred partitions at once."""
    bridge.write(*(bridge.batch([[f"o{n}", 0, 1, 2]], end_s=86_400 * n) for n in range(1, 150)))
    assert len(objects(bridge)) == 149


def test_objects_are_found_by_the_parts_of_their_names(bridge: Bridge) -> None:
    bridge.rules = Rules(split_dn=True)
    names = ["ManagedElement=1,NRCellDU=3", "ManagedElement=1,NRCellDU=33", r"NRCellDU=3\,4", "no name"]
    bridge.write(bridge.batch([[name, 0, 1, 2] for name in names]))
    bridge.write(bridge.batch([[name, 0, 1, 2] for name in names[:2]], element="e2"))
    found = (
        "SELECT element, object FROM `{table}` WHERE (element, object) IN (SELECT element, object FROM pm_object WHERE "
    )
    assert sorted(bridge.ask(found + "dn['NRCellDU'] = '3')")) == [("e1", names[0]), ("e2", names[0])]
    assert bridge.ask(found + "dn['NRCellDU'] = '3,4')") == [("e1", names[2])]
    assert len(bridge.ask("SELECT * FROM pm_object")) == 6


def test_a_column_tells_its_unit_and_its_counter_where_the_name_is_another(bridge: Bridge) -> None:
    types, units = {"a": "integer"}, {"a": "it's a \\ unit", "ts": "s"}
    bridge.write(bridge.batch([["o", 0, 1, 2, 3]], counters=("a", "ts", "c"), types=types, units=units))
    columns = "SELECT type, comment FROM system.columns WHERE database = currentDatabase() AND table = '{table}_rows'"
    assert bridge.ask(columns + " AND name IN ('a', 'c') ORDER BY name") == [
        ("Nullable(Int64)", "it's a \\ unit"), ("Nullable(Float64)", "")
    ]  # fmt: skip
    assert bridge.ask(columns + " AND name LIKE 'ts\\\\_%'") == [("Nullable(Float64)", "ts, s")]
    bridge.write(bridge.batch([["o", 0, "up"]], counters=("a",), ver=2))
    assert bridge.ask(columns + " AND name = 'a'") == [("Nullable(String)", "it's a \\ unit")]
    table = "SELECT comment FROM system.tables WHERE database = currentDatabase() AND name = '{table}_rows'"
    assert bridge.ask(table) == [(bridge.group,)]


def test_a_view_that_another_left_behind_its_table_is_made_again(at: Clickhouse, bridge: Bridge) -> None:
    batch = bridge.batch([["o1", 0, 1, 2]])
    bridge.write(batch)
    bridge.do("CREATE OR REPLACE VIEW `{table}` AS SELECT ts, element, object, gp_s, a FROM `{table}_rows`")
    other = ClickHouse(at)
    ClickhouseBridge(other).write([batch], {})
    other.close()
    assert bridge.rows() == {("e1", "o1"): {"a": 1, "b": 2}}


def test_a_view_answers_alike_before_and_after_merges(bridge: Bridge) -> None:
    for ver, values in ((3, [None, 3]), (1, [1, 1]), (2, [2, None]), (2, [2, None])):
        bridge.write(bridge.batch([["o1", 0, *values]], ver=ver))
    newest = {("e1", "o1"): {"a": 2, "b": 3}}
    assert bridge.rows() == newest
    bridge.do("OPTIMIZE TABLE `{table}_rows` FINAL")
    assert bridge.rows() == newest


def test_a_write_of_many_files_is_one_part_of_a_table_and_day(bridge: Bridge) -> None:
    bridge.write(*(bridge.batch([["o1", 0, n, n]], element=f"e{n}", counters=("a", f"c{n % 3}")) for n in range(200)))
    parts = "FROM system.parts WHERE active AND database = currentDatabase() AND table = '{table}_rows'"
    assert bridge.ask("SELECT count(), sum(rows) " + parts) == [(1, 200)]


def test_the_engine_reads_every_statement_of_a_cluster(bridge: Bridge) -> None:
    """It has no cluster to run them in."""
    where = Where("pm", "ReplicatedReplacingMergeTree")
    there = Table("s_G", "G", {"a": Column("number", "it's a unit")}, retention_days=7)
    told = [
        statements.database("pm", where),
        statements.objects(where),
        *statements.steps(Table("s_G", "G", {}, is_there=False), there, where),
        *statements.steps(there, Table("s_G", "G", {"a": Column("text")}), where),
        *statements.steps(there, Table("s_G", "G", {}, 7), where),
        *cycles.statements(where),
    ]
    for statement in told:
        bridge.clickhouse.connection.do("EXPLAIN AST " + statement)
    with pytest.raises(Unreachable, match="SYNTAX_ERROR"):
        bridge.clickhouse.connection.do("EXPLAIN AST " + told[0].replace("ON CLUSTER", "IN CLUSTER"))


EMBEDDED = """
import sys
from services.ch_bridge.bridge import ClickhouseBridge
from services.ch_bridge.clickhouse import ClickHouse
from services.ch_bridge.settings import Rules
from shared.messages import CounterBatch
from services.ch_bridge.settings import Clickhouse
from tools.cli.operate.stored import in_clickhouse
at = Clickhouse(url=sys.argv[1])
clickhouse = ClickHouse(at, lambda _: Rules(split_dn=True))
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
from services.ch_bridge.statements import Table, Where, steps
line = chdb.connect(sys.argv[1])
where = Where(engine="ReplicatedReplacingMergeTree('/pm/{table}', '{replica}')")
(create,) = steps(Table("s_G", "G", {}, is_there=False), Table("s_G", "G", {}, 7), where)
line.query(create)
os._exit(0)  # the engine's own end waits for a replication it cannot do
"""


def test_a_replicated_table_is_made_as_the_engine_and_zookeeper_want_it(stack: Stack, tmp_path: Path) -> None:
    """As far as the embedded engine goes: it takes no rows there, as it has no port for other replicas."""
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
    """In a process of its own: it may have one engine alone. What it says."""
    argv = [sys.executable, "-c", script, argument]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_embedded_engine_is_a_folder_in_the_url(tmp_path: Path) -> None:
    for _ in range(2):
        said = run(EMBEDDED, f"chdb://{tmp_path}/data?database=pm")
        assert said == ["pm", "Cell=1 False {'a': 1.5, 'b': 'up'}", "Cell=2 True {'b': '[1,2]'}"]
