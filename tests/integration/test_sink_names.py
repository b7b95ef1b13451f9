"""Names from files on the real databases: every value is found under its own name, and nothing else is touched."""

import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from threading import Barrier
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from services.ch_bridge.error_codes import ERROR_CLASSES, OPERATOR, REFUSED, STALE, TRANSIENT
from services.ch_bridge.repository import ClickhouseRepository
from services.ch_bridge.settings import Clickhouse
from services.ch_bridge.sink import ClickhouseBridge
from services.ch_bridge.upgrade import prepare_database as prepare_clickhouse
from services.mysql_writer.repository import Repository
from services.mysql_writer.settings import Mysql
from services.mysql_writer.sink import MysqlWriterWorker
from services.mysql_writer.upgrade import prepare_database as prepare_mysql
from shared.errors import Unreachable
from shared.kafka.record import TopicPartition
from shared.messages import CounterBatch
from shared.sinks.landing import RefusedBatches, RefusedCounters
from shared.sinks.names import GroupKey, column_names, table_names
from tools.cli.operate.stored import in_clickhouse, in_mysql
from tools.devstack.stack import Stack

Names = Mapping[GroupKey, list[list[str]]]
"""Counters of some batches, by group."""
MARKS = [*islice(column_names("é"), 2), *islice(column_names("X"), 1, 2)]
SYSTEMS = ["4ga", "4ga_X", "4ga_x", "4GA", "pm", "5ga.a", "s" * 100]
GROUPS = [
    "Cell", "cell", "X_Cell", "Cell_rows", "Cell_ROWS", "Cell_all", "Cell_part2", "Cell_2", "PM=1,PmGroup=Cell",
    "Cell ", " Cell", "Céll", "Cell\0", "Cell`; DROP TABLE x; --", "object", "group", "", "\N{COLLISION SYMBOL}",
    "G" * 300, "select", next(table_names("4ga", "Céll")).removeprefix("4ga_"),
]  # fmt: skip
COUNTERS = [
    "X", "X.sub", "X.sub.y", "x", "X ", " X", "X.", ".X", "_row_exists", "_block_number", "_part", "ts", "TS", "ver",
    "part", "obj", "DB_ROW_ID", "select", "é", "É", "e\u0301", "e", "", " ", "`", "'", "\\", "%s", "%", "a\0b", "?",
    "\N{COLLISION SYMBOL}", "c" * 64, "c" * 65, "C" * 65, "c" * 300, "{a:String}", "a,b", "ts.x", "element.x", *MARKS,
]  # fmt: skip
adversarial: st.SearchStrategy[dict[GroupKey, list[list[str]]]] = st.dictionaries(
    st.tuples(st.sampled_from(SYSTEMS), st.sampled_from(GROUPS) | st.text(max_size=20)),
    st.lists(
        st.lists(st.sampled_from(COUNTERS) | st.text(max_size=12), min_size=1, max_size=9, unique=True),
        min_size=1, max_size=3,
    ),
    min_size=1, max_size=4,
)  # fmt: skip


@dataclass
class Store:
    """A sink with a database of its own; it counts versions up, so that each write is the newest."""

    mysql: Mysql | None
    clickhouse: Clickhouse
    written: dict[tuple[str, str, str], dict[str, int]] = field(default_factory=dict)
    """Values by system, group and element."""
    ver: int = 0

    def __post_init__(self) -> None:
        self.sink = self.connect()

    def connect(self) -> MysqlWriterWorker | ClickhouseBridge:
        if self.mysql:
            return MysqlWriterWorker(Repository(self.mysql))
        return ClickhouseBridge(ClickhouseRepository(self.clickhouse))

    def batch(self, group: GroupKey, counters: list[str], element: str = "e1") -> CounterBatch:
        """Returns a batch in which every value is another one, and remembers them."""
        self.ver += 1
        values = {counter: 1000 * self.ver + at for at, counter in enumerate(counters)}
        self.written.setdefault((*group, element), {}).update(values)
        return CounterBatch(
            system=group[0], file_id=f"{self.ver:016x}", element=element, group=group[1], job="", gp_s=900,
            end_s=1_700_000_100, end_offset_min=0, ver=self.ver, counters=counters, rows=[["o1", 0, *values.values()]],
        )  # fmt: skip

    def write(self, names: Names) -> None:
        for group, batches in names.items():
            for counters in batches:
                self.sink.write([self.batch(group, counters)], {})

    def write_patiently(self, batches: list[CounterBatch]) -> None:
        """Writes batches through a connection of its own, as the sink's loop would."""
        sink = self.connect()
        for batch in batches:
            while True:
                try:
                    sink.write([batch], {})
                    break
                except Unreachable:  # another writer was faster
                    continue
        sink.repository.close()

    def found(self, names: Names | None = None) -> dict[tuple[str, str, str], dict[str, Any]]:
        """Returns the values of these groups, else of all, as a reader finds them."""
        wanted = set(names or [(system, group) for system, group, _ in self.written])
        if self.mysql:
            rows = list(in_mysql(self.mysql))
        else:
            groups = {system: {group for of, group in wanted if of == system} for system, _ in wanted}
            rows = [row for system, some in groups.items() for row in in_clickhouse(self.clickhouse, system, some)]
        return {row.key[:3]: dict(row.values) for row in rows if row.key[:2] in wanted}

    def sent(self, names: Names) -> dict[tuple[str, str, str], dict[str, int]]:
        """Returns the values that were written to these groups."""
        return {key: values for key, values in self.written.items() if key[:2] in names}

    def do(self, statement: str) -> None:
        """Executes a statement as a DBA would."""
        if isinstance(self.sink, MysqlWriterWorker):
            with self.sink.repository.connection.transaction() as execute:
                execute(statement)
        else:
            self.sink.repository.connection.do(statement)


@pytest.fixture(params=["mysql", "clickhouse"])
def store(request: pytest.FixtureRequest, stack: Stack) -> Iterator[Store]:
    name = f"names_{uuid.uuid4().hex[:8]}"
    mysql = Mysql(host=stack.mysql_host, port=stack.mysql_port, user="root", database=name)
    made = Store(mysql if request.param == "mysql" else None, Clickhouse(url=f"{stack.clickhouse_url}/{name}"))
    yield made
    made.sink.repository.close()


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(names={("4ga", "Cell"): [["X.sub"], ["X"]], ("4ga", "Cell_rows"): [["X"]], ("4ga", "cell"): [["X", "x"]]})
@example(names={("4ga", "X_Cell"): [["a"]], ("4ga_X", "Cell"): [["a"], [MARKS[0], "é"], [MARKS[1], MARKS[2]]]})
@example(names={("4ga", "All"): [COUNTERS[at : at + 7] for at in range(0, len(COUNTERS), 7)]})
@given(names=adversarial)
def test_every_value_is_found_under_its_own_name(store: Store, names: Names) -> None:
    """The names of former examples stay taken."""
    store.write(names)
    assert store.found(names) == store.sent(names)


def test_writers_that_allocate_names_at_once_never_share_one(store: Store) -> None:
    groups = [("4ga", "Cell"), ("4ga", "CELL"), ("4ga", "PM=1,PmGroup=Cell"), ("4ga", "cell")] * 2
    counters = [["X", "X.sub", "a"], ["x", "A", "X.sub"], ["X.sub.y", "a", "é"]]
    store.write({("4ga", "first"): [["a"]]})  # the database exists
    batches = [store.batch(group, some, f"e{at}") for at, group in enumerate(groups) for some in counters]

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(store.write_patiently, [batches[at : at + 6] for at in range(0, len(batches), 6)]))
    assert store.found() == store.written


def test_writers_that_start_together_on_an_empty_database_store_everything(stack: Stack) -> None:
    """A writer that took over a table's lock before the other's commit did not see its columns."""
    for _ in range(25):
        name = f"names_{uuid.uuid4().hex[:8]}"
        store = Store(Mysql(host=stack.mysql_host, port=stack.mysql_port, user="root", database=name), Clickhouse())
        store.sink.resume([TopicPartition("t", 0)])
        own = [[store.batch(("4ga", "Cell"), ["a", "b", f"c{n // 2}"], f"e{n}")] for n in range(4)]
        together = Barrier(len(own))

        def write(batches: list[CounterBatch], store: Store = store, together: Barrier = together) -> None:
            together.wait()
            store.write_patiently(batches)

        with ThreadPoolExecutor(len(own)) as pool:
            list(pool.map(write, own))
        assert store.found() == store.written
        store.do(f"DROP DATABASE {name}")
        store.sink.repository.close()


def test_a_table_of_somebody_else_is_left_alone(store: Store) -> None:
    store.write({("4ga", "first"): [["a"]]})
    engine = "" if store.mysql else " ENGINE = Memory"
    for name in ("4ga_cell", "4ga_Cell_rows"):
        store.do(f"CREATE TABLE `{name}` (a INT){engine}")
        store.do(f"INSERT INTO `{name}` VALUES (7)")
    store.write({("4ga", "Cell"): [["a"]], ("4ga", "Cell_rows"): [["a"]]})
    assert store.found() == store.written
    for name in ("4ga_cell", "4ga_Cell_rows"):
        store.do(f"INSERT INTO `{name}` SELECT a + 1 FROM `{name}` WHERE a = 7")  # fails unless the table is as it was


def test_only_names_that_are_too_long_for_the_catalogue_are_refused(store: Store) -> None:
    with pytest.raises(RefusedCounters) as refused:
        store.sink.write([store.batch(("4ga", "Cell"), ["c" * 1001, "a", "c" * 1000])], {})
    assert refused.value.reasons.keys() == {("4ga", "Cell", "c" * 1001)}
    with pytest.raises((RefusedBatches, RefusedCounters), match="1000 "):
        store.sink.write([store.batch(("4ga", "G" * 1001), ["a", "b"])], {})


def test_a_group_of_thousands_of_counters_is_stored_and_read_and_so_are_all_others(store: Store) -> None:
    """More than MySQL shows in one view, and a longer definition than ClickHouse parses by default."""
    count = 4200 if store.mysql else 1500
    names = [f"{n:04}{'N' * 60}" for n in range(count)]
    store.write({("4ga", "Wide"): [names, ["0001.more", *names[:10]]], ("4ga", "Cell"): [["a"]]})
    assert store.found() == store.written


def test_tables_and_columns_that_a_dba_dropped_are_created_again_under_their_names(store: Store) -> None:
    names = {("4ga", "Cell"): [["X.sub"], ["X", "é"]]}
    store.write(names)
    table = "4ga_cell" if store.mysql else "4ga_Cell_rows"
    column = "X" if store.mysql else next(islice(column_names("X"), 1, 2))
    for statement in (f"ALTER TABLE `{table}` DROP COLUMN `{column}`", f"DROP TABLE `{table}`"):
        store.do(statement)
        store.written.clear()
        for batch in (store.batch(*key) for key in [(("4ga", "Cell"), ["X", "é"]), (("4ga", "Cell"), ["X.sub"])]):
            try:
                store.sink.write([batch], {})
            except Unreachable:
                store.sink.write([batch], {})
        assert store.found() == store.written


def test_a_database_of_a_pmflow_without_versions_is_refused(store: Store) -> None:
    store.sink.resume([TopicPartition("t", 0)])
    store.write({("4ga", "Cell"): [["a"]]})
    store.do("DROP TABLE pm_schema")
    with pytest.raises(Unreachable, match="tables of an older pmflow and no pm_schema"):
        store.connect().resume([TopicPartition("t", 0)])


def test_a_database_of_an_older_version_is_upgraded_and_of_a_newer_one_refused(store: Store) -> None:
    store.sink.resume([TopicPartition("t", 0)])
    if isinstance(store.sink, MysqlWriterWorker):
        connection = store.sink.repository.connection
        with connection.transaction() as execute:
            execute("UPDATE pm_schema SET version = 0")
        with connection.transaction() as execute:
            prepare_mysql(execute, {0: ["CREATE TABLE upgraded (a INT)"]})
            assert execute("SELECT version, (SELECT COUNT(*) FROM upgraded) FROM pm_schema") == [(1, 0)]
        with connection.transaction() as execute:
            execute("UPDATE pm_schema SET version = 2")
    else:
        client = store.sink.repository.connection.client
        assert client is not None
        client.command("TRUNCATE TABLE pm_schema")  # as after a start that was cut off
        prepare_clickhouse(client.command, store.sink.repository.connection.deployment)
        assert client.command("SELECT max(version) FROM pm_schema") == 1
        client.command("INSERT INTO pm_schema (version) VALUES (2)")
    with pytest.raises(Unreachable, match="has schema version 2, this pmflow needs version 1"):
        store.connect().resume([TopicPartition("t", 0)])


def test_the_names_of_error_codes_are_those_of_the_server(stack: Stack) -> None:
    repository = ClickhouseRepository(Clickhouse(url=f"{stack.clickhouse_url}/codes_{uuid.uuid4().hex[:8]}"))
    query = "SELECT DISTINCT code, name FROM system.errors SETTINGS system_events_show_zero_values = 1"
    known = {(int(code), name) for code, name in repository.connection.ask(query)}
    assert {*REFUSED.items(), *STALE.items(), *TRANSIENT.items(), *OPERATOR.items()} <= known
    assert len(ERROR_CLASSES) > 100
    repository.close()


def test_objects_whose_names_contain_separators_are_told_apart(stack: Stack) -> None:
    mysql = Mysql(host=stack.mysql_host, port=stack.mysql_port, user="root", database=f"names_{uuid.uuid4().hex[:8]}")
    repository = Repository(mysql)
    batch = Store.batch(Store(mysql, Clickhouse()), ("4ga", "Cell"), ["a"])
    sink = MysqlWriterWorker(repository)
    sink.write(
        [replace(batch, element="e\0x", rows=[["y", 0, 1]]), replace(batch, element="e", rows=[["x\0y", 0, 2]])], {}
    )
    assert sorted(row.key[2:4] for row in in_mysql(mysql)) == [("e", "x\0y"), ("e\0x", "y")]
    repository.close()
