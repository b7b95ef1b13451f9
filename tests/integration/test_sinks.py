"""Guarantees of both sinks on the real databases: the same tests for MySQL and ClickHouse."""

import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Barrier
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.ch_bridge.repository import ClickhouseRepository
from services.ch_bridge.settings import Clickhouse
from services.ch_bridge.sink import ClickhouseBridge
from services.mysql_writer.objects import MOST_COLUMNS
from services.mysql_writer.positions import Fenced
from services.mysql_writer.repository import Repository
from services.mysql_writer.settings import Mysql, MysqlRules
from services.mysql_writer.sink import MysqlWriterWorker
from shared.errors import Hopeless, Unreachable
from shared.kafka.record import Record, TopicPartition
from shared.messages import CounterBatch
from shared.sinks.dn import dn_components
from shared.sinks.landing import Piece, RefusedCounters, land, split_counters
from shared.sinks.names import KEY_COLUMNS
from shared.sinks.rules import StorageRules
from shared.sinks.sink import Sink
from tests.integration import mariadb
from tools.cli.operate.stored import StoredRow, canonical, in_clickhouse, in_mysql
from tools.devstack.stack import Stack

PARTITION = TopicPartition("pm.counters.4ga", 0)
Rows = dict[tuple[str, str], dict[str, Any]]


@dataclass
class Database:
    """A sink with a database of its own, and the rows that a reader finds there."""

    connect: Callable[..., Sink]
    read: Callable[[set[str]], Iterable[StoredRow]]
    disconnect: Callable[[], object] = lambda: None

    def __post_init__(self) -> None:
        self.sink = self.connect()
        self.sink.resume([PARTITION])
        self.group = f"G{uuid.uuid4().hex[:8]}"

    def batch(
        self, rows: list[list[Any]], counters: tuple[str, ...] = ("a", "b"), ver: int = 1, **changes: Any
    ) -> CounterBatch:
        made = CounterBatch(
            system="4ga", file_id=f"{ver:016x}", element="e1", group=self.group, job="", gp_s=900, end_s=1_700_000_100,
            end_offset_min=60, ver=ver, counters=list(counters), rows=rows,
        )  # fmt: skip
        return replace(made, **changes)

    def write(self, *batches: CounterBatch) -> None:
        self.sink.write(batches, {PARTITION: 1})

    def land(self, *batches: CounterBatch) -> list[tuple[CounterBatch, str]]:
        """Stores batches like the sink loop; returns what was set aside, with reasons."""
        aside: list[tuple[CounterBatch, str]] = []
        records = [Record("t", 0, 0, b"e", batch.encode(), 1.0) for batch in batches]
        land(
            lambda pieces: self.sink.write([p.batch for p in pieces if p.batch is not None], {}),
            list(map(Piece, records, batches)),
            lambda _, content, reason: aside.append((unchecked(content), reason)),
        )
        return aside

    def rows(self, *counters: str) -> Rows:
        """Returns the values by element and object."""
        return {
            (row.key[2], row.key[3]): {c: canonical(v) for c, v in row.values.items()}
            for row in self.read(set(counters or ("a", "b")))
            if row.key[1] == self.group
        }


def unchecked(content: bytes) -> CounterBatch:
    """Returns a batch that `CounterBatch.decode` may refuse."""
    return CounterBatch(**{name: value for name, value in orjson.loads(content).items() if name != "kind"})


@pytest.fixture(scope="module")
def mysql(stack: Stack) -> Mysql:
    return Mysql(host=stack.mysql_host, port=stack.mysql_port, user="root", database=f"sinks_{uuid.uuid4().hex[:8]}")


def of_server(request: pytest.FixtureRequest, mysql: Mysql) -> Mysql:
    return replace(mysql, port=request.getfixturevalue("mariadb_port")) if request.param == "mariadb" else mysql


@pytest.fixture(params=["mysql", *mariadb.IF_THERE])
def server(request: pytest.FixtureRequest, mysql: Mysql) -> Mysql:
    """MySQL and MariaDB, for guarantees of the writer that they share."""
    return of_server(request, mysql)


@pytest.fixture(params=["mysql", *mariadb.IF_THERE, "clickhouse"])
def database(request: pytest.FixtureRequest, stack: Stack, mysql: Mysql) -> Iterator[Database]:
    closing: list[Repository | ClickhouseRepository] = []
    server = of_server(request, mysql)

    def to_mysql(*, add_columns: bool = True) -> Sink:
        repository = Repository(server, lambda _: MysqlRules(add_columns=add_columns))
        closing.append(repository)
        return MysqlWriterWorker(repository)

    def to_clickhouse(*, add_columns: bool = True) -> Sink:
        clickhouse = ClickhouseRepository(at, lambda _: StorageRules(add_columns=add_columns))
        closing.append(clickhouse)
        return ClickhouseBridge(clickhouse)

    if request.param != "clickhouse":
        yield Database(to_mysql, lambda _: in_mysql(server))
    else:
        at = Clickhouse(url=f"{stack.clickhouse_url}/{mysql.database}")
        made = Database(to_clickhouse, lambda counters: in_clickhouse(at, "4ga", {made.group: counters}))
        yield made
    for one in closing:
        one.close()


def test_a_batch_is_stored_unchanged(database: Database) -> None:
    database.write(database.batch([["o1", 0, 1, 2.5], ["o2", 1, None, 0]]))
    assert database.rows() == {("e1", "o1"): {"a": 1, "b": 2.5}, ("e1", "o2"): {"b": 0}}
    assert {row.key[3]: row.suspect for row in database.read({"a"}) if row.key[1] == database.group} == {
        "o1": False,
        "o2": True,
    }
    assert {row.key[4:] for row in database.read({"a"}) if row.key[1] == database.group} == {(1_700_000_100, 900)}


def test_storing_a_batch_again_changes_nothing(database: Database) -> None:
    batch = database.batch([["o1", 0, 1, 2]])
    for _ in range(3):
        database.write(batch)
    database.write(batch, batch)
    assert database.rows() == {("e1", "o1"): {"a": 1, "b": 2}}


def test_periods_granularities_elements_and_objects_are_kept_apart(database: Database) -> None:
    one = database.batch([["o1", 0, 1, 1]])
    others = [replace(one, end_s=one.end_s + 900), replace(one, gp_s=300), replace(one, element="e2")]
    database.write(one, *others, database.batch([["O1", 0, 1, 1], ["", 0, 1, 1]]))
    found = [row.key for row in database.read({"a"}) if row.key[1] == database.group]
    assert len(found) == len(set(found)) == 6


values = st.none() | st.integers(0, 9)
histories = st.lists(st.tuples(st.integers(1, 4), values, values), min_size=1, max_size=5, unique_by=lambda f: f[0])


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=histories)
def test_the_newest_file_wins_counter_by_counter_in_any_order(
    database: Database, files: list[tuple[int, int | None, int | None]]
) -> None:
    if database.sink.name == "mysql":
        files = files[:2]  # a row remembers one version: docs/decisions/0017-versions.md says what that costs
    database.group = f"G{uuid.uuid4().hex[:8]}"
    for ver, a, b in files:
        database.write(database.batch([["o1", 0, a, b]], ver=ver))
    newest: dict[str, Any] = {}
    for _, a, b in sorted(files, key=lambda file: file[0]):
        newest |= {name: value for name, value in (("a", a), ("b", b)) if value is not None}
    assert database.rows() == {("e1", "o1"): newest}


def test_a_file_with_other_counters_adds_columns(database: Database) -> None:
    database.write(database.batch([["o1", 0, 1, 2]]))
    database.write(database.batch([["o1", 0, 3]], counters=("c.d%e`f",), ver=2))
    assert database.rows("a", "b", "c.d%e`f") == {("e1", "o1"): {"a": 1, "b": 2, "c.d%e`f": 3}}


def test_a_group_with_more_counters_than_a_table_holds_is_read_as_one(database: Database) -> None:
    names = tuple(f"c{n:04}" for n in range(1000))
    values = {name: n for n, name in enumerate(names)}
    database.write(database.batch([["o1", 0, *range(1000)]], counters=names))
    database.write(database.batch([["o2", 1, 1]], counters=("c0999",), ver=2))
    more = tuple(f"d{n:04}" for n in range(900))
    database.write(database.batch([["o1", 0, 5, *range(900)]], counters=("c0001", *more), ver=3))
    database.write(database.batch([["o1", 0, 6]], counters=("c0001",), ver=2))
    assert database.rows(*names, *more) == {
        ("e1", "o1"): values | {"c0001": 5} | {name: n for n, name in enumerate(more)},
        ("e1", "o2"): {"c0999": 1},
    }


def test_counters_that_differ_only_in_case_are_two(database: Database) -> None:
    database.write(database.batch([["o1", 0, 1, 2]], counters=("DRB.Thp", "drb.thp")))
    assert database.rows("DRB.Thp", "drb.thp") == {("e1", "o1"): {"DRB.Thp": 1, "drb.thp": 2}}


def test_counters_may_have_the_names_of_pmflows_own_columns(database: Database) -> None:
    database.write(database.batch([["o1", 0, 7, 8]], counters=("ver", "ts")))
    assert database.rows("ver", "ts") == {("e1", "o1"): {"ver": 7, "ts": 8}}


def test_words_vectors_and_large_integers_are_stored_unchanged(database: Database) -> None:
    large = 2**63 - 1
    row = ["o1", 0, 'it\'s "on"\\', [1, None, 2.5], large]
    database.write(database.batch([row], counters=("a", "b", "c")))
    assert database.rows("a", "b", "c") == {("e1", "o1"): {"a": row[2], "b": [1, None, 2.5], "c": large}}


def test_a_column_of_numbers_is_widened_for_a_word_and_keeps_its_numbers(database: Database) -> None:
    database.write(database.batch([["o1", 0, 1, 2.5]]))
    database.write(database.batch([["o2", 0, "up", [1, 2]]], ver=2))
    database.write(database.batch([["o3", 0, 3, 4]], ver=3))
    assert database.rows() == {
        ("e1", "o1"): {"a": 1, "b": 2.5},
        ("e1", "o2"): {"a": "up", "b": [1, 2]},
        ("e1", "o3"): {"a": 3, "b": 4},
    }


cells = (
    st.none()
    | st.integers(-(2**53), 2**53)
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=5)
    | st.lists(
        st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats(0, 1e9) | st.text("ab\"'", max_size=2), max_size=3
    )
)
declarations = st.none() | st.sampled_from(("number", "integer", "vector", "text"))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(cells, min_size=1, max_size=3), min_size=1, max_size=4), declared=declarations)
def test_values_of_any_kind_in_any_order_are_read_as_they_were_sent(
    database: Database, batches: list[list[Any]], declared: str | None
) -> None:
    database.group = f"G{uuid.uuid4().hex[:8]}"
    types = {"a": declared} if declared else {}
    sent: Rows = {}
    for number, values in enumerate(batches):
        rows = [[f"o{number}-{n}", 0, value] for n, value in enumerate(values)]
        database.write(database.batch(rows, counters=("a",), ver=number + 1, types=types))
        sent |= {("e1", row[0]): {"a": canonical(row[2])} if row[2] is not None else {} for row in rows}
    assert database.rows("a") == sent


def test_many_writers_can_create_the_same_table_and_columns_at_once(database: Database) -> None:
    def write(number: int) -> None:
        sink = database.connect()
        sink.resume([TopicPartition("pm.counters.4ga", number + 1)])
        batch = database.batch([[f"o{number}", 0, number, 1]], element=f"e{number}", counters=("a", f"only{number}"))
        while True:
            try:
                sink.write([batch], {TopicPartition("pm.counters.4ga", number + 1): 1})
            except Unreachable:  # a lock was not to be had: what the sink's loop would do
                continue
            return

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    names = [f"only{n}" for n in range(4)]
    assert database.rows("a", *names) == {(f"e{n}", f"o{n}"): {"a": n, f"only{n}": 1} for n in range(4)}


def test_an_unknown_counter_is_refused_until_columns_may_be_added(
    database: Database,
) -> None:
    database.write(database.batch([["o1", 0, 1, 2]]))
    strict = database.connect(add_columns=False)
    strict.resume([PARTITION])
    strict.write([database.batch([["o1", 0, 3, 4]], ver=2)], {})
    batch = database.batch([["o1", 0, 5, 6], ["o2", 0, 7, None]], counters=("a", "c"), ver=3)
    with pytest.raises(RefusedCounters, match="is-auto-adding-column is false") as refused:
        strict.write([batch], {})
    assert refused.value.reasons.keys() == {("4ga", database.group, "c")}
    aside, kept = split_counters(batch, {"c"})
    strict.write([kept], {})
    known = {("e1", "o1"): {"a": 5, "b": 4}, ("e1", "o2"): {"a": 7}}
    assert database.rows("a", "b", "c") == known
    database.sink.write([aside], {})
    assert database.rows("a", "b", "c") == known | {("e1", "o1"): {"a": 5, "b": 4, "c": 6}}


def test_poison_rows_are_refused_and_all_others_are_stored(database: Database) -> None:
    good = [[f"o{n}", 0, n, 1] for n in range(9)]
    too_long: list[Any] = ["x" * 70_000, 0, 1, 1]
    poison = [too_long] if database.sink.name == "mysql" else []
    batches = [
        database.batch([*good[:4], *poison, *good[4:]]),
        database.batch(good, element="e2"),
        database.batch(good[:2], element="e3", end_s=10**15),
        database.batch(good[:2], element="e4", gp_s=2**40),
    ]
    aside = database.land(*batches)
    assert sorted((b.element, row[0][:6], bool(reason)) for b, reason in aside for row in b.rows) == sorted(
        [("e1", row[0][:6], True) for row in poison] + [(e, f"o{n}", True) for e in ("e3", "e4") for n in (0, 1)]
    )
    assert database.rows() == {(e, f"o{n}"): {"a": n, "b": 1} for e in ("e1", "e2") for n in range(9)}


def test_a_server_that_is_down_is_unreachable_not_hopeless(stack: Stack) -> None:
    with pytest.raises(Unreachable):
        Repository(Mysql(host="127.0.0.1", port=1)).take_over([PARTITION])
    with pytest.raises(Unreachable):
        ClickhouseRepository(Clickhouse(url="http://127.0.0.1:1/x")).check()


def test_a_former_owner_of_a_partition_cannot_write_and_the_new_one_resumes_at_its_position(server: Mysql) -> None:
    former, owner = Repository(server), Repository(server)
    former.take_over([TopicPartition("t", 0)])
    former.store([], {TopicPartition("t", 0): 7})
    assert owner.take_over([TopicPartition("t", 0)]) == {TopicPartition("t", 0): 7}
    with pytest.raises(Fenced):
        former.store([], {TopicPartition("t", 0): 8})
    owner.store([], {TopicPartition("t", 0): 7})
    assert owner.take_over([TopicPartition("t", 0)]) == {TopicPartition("t", 0): 7}
    former.close()
    owner.close()


def test_rows_and_position_are_stored_together_or_not_at_all(server: Mysql) -> None:
    repository = Repository(server)
    repository.take_over([TopicPartition("t", 1)])
    object_row = b"INSERT INTO pm_object (digest, `system`, element, ldn) VALUES (x'%s', 's', 'e', 'l')" % (b"00" * 16)
    with pytest.raises(Hopeless):
        repository.store([object_row, b"INSERT INTO pm_object (digest) VALUES (x'00')"], {TopicPartition("t", 1): 5})
    assert repository.take_over([TopicPartition("t", 1)]) == {TopicPartition("t", 1): 0}
    repository.store([object_row], {TopicPartition("t", 1): 5})  # not there yet: else the key would clash
    assert repository.take_over([TopicPartition("t", 1)]) == {TopicPartition("t", 1): 5}
    repository.close()


def parts_of(repository: Repository) -> dict[str, dict[str, str]]:
    """Returns the components stored in the object dictionary: class -> value, by ldn."""
    with repository.connection.transaction() as execute:
        columns = dict(execute("SELECT `column_name`, counter FROM pm_counter WHERE `table_name` = 'pm_object'"))
        there = [name for (name,) in execute(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE() "
            "AND table_name = 'pm_object' ORDER BY ordinal_position"
        )]  # fmt: skip
        rows = [dict(zip(there, row, strict=True)) for row in execute("SELECT * FROM pm_object")]
    return {
        row["ldn"]: {kind: row[column] for column, kind in columns.items() if row[column] is not None} for row in rows
    }


def test_components_of_an_objects_name_get_columns_as_they_appear(server: Mysql) -> None:
    own = replace(server, database=f"dn_{uuid.uuid4().hex[:8]}")
    rules = MysqlRules()
    repository = Repository(own, lambda _: rules)
    made = Database(lambda: MysqlWriterWorker(repository), lambda _: in_mysql(own))
    cell = "ManagedElement=1,GNBDUFunction=2,NRCellDU=a\\,b"
    made.write(made.batch([[cell, 0, 1, 2], ["no name", 0, 3, 4]]))
    assert parts_of(repository) == {cell: {}, "no name": {}}
    rules = MysqlRules(split_dn=True)
    more = "ManagedElement=1,LDN=x,ldn=y,A%`b=z"
    with ThreadPoolExecutor(3) as pool:  # other writers, as after a restart: they fill the columns of old objects too
        others = [Repository(own, lambda _: rules) for _ in range(3)]
        batches = [made.batch([[cell, 0, 1, 2], [more, 0, n, n]], element=f"e{n}") for n in range(3)]
        list(pool.map(lambda pair: land_alone(*pair), zip(others, batches, strict=True)))
    assert parts_of(repository)[cell] == {"ManagedElement": "1", "GNBDUFunction": "2", "NRCellDU": "a,b"}
    assert parts_of(repository)[more] == {"ManagedElement": "1", "LDN": "x", "ldn": "y", "A%`b": "z"}
    made.write(made.batch([[cell, 0, 5, 6]], ver=2))
    assert made.rows()["e1", cell] == {"a": 5, "b": 6}
    for one in (repository, *others):
        one.close()


def test_objects_keep_their_numbers_and_components_while_others_add_columns(server: Mysql) -> None:
    for _ in range(8):
        own = replace(server, database=f"dn_{uuid.uuid4().hex[:8]}")
        repositories = [Repository(own, lambda _: MysqlRules(split_dn=True)) for _ in range(4)]
        repositories[0].take_over([TopicPartition("t", 1)])  # the tables are there
        together = Barrier(len(repositories))

        def add(number: int, repositories: list[Repository] = repositories, together: Barrier = together) -> None:
            together.wait()
            for step in range(6):
                element = f"e{number if step % 2 else 0}"  # all add the same ones, then each his own
                wanted = [(element, f"{element}={n},C{step}_{number % 2}=1") for n in range(15)]
                repositories[number].objects.numbers_of("4ga", wanted, split_dn=True)

        with ThreadPoolExecutor(len(repositories)) as pool:
            list(pool.map(add, range(len(repositories))))
        with repositories[0].connection.transaction() as execute:
            there = {(element, ldn): i for i, element, ldn in execute("SELECT id, element, ldn FROM pm_object")}
        for repository in repositories:
            cache = repository.objects.cache
            numbers = {
                (element, ldn): known.number
                for element in {element for element, _ in there}
                for ldn, known in cache.of_element("4ga", element).items()
            }
            assert numbers == {key: there[key] for key in numbers}
            assert len(numbers) == 6 * 15
        assert parts_of(repositories[0]) == {ldn: dn_components(ldn) for _, ldn in there}
        for repository in repositories:
            repository.close()


def land_alone(repository: Repository, batch: CounterBatch) -> None:
    """Stores a batch like the sink loop, retrying while the database asks for it."""
    while True:
        try:
            MysqlWriterWorker(repository).write([batch], {})
        except Unreachable:
            continue
        return


def test_only_as_many_components_get_columns_as_fit_the_dictionary(server: Mysql) -> None:
    own = replace(server, database=f"dn_{uuid.uuid4().hex[:8]}")
    repository = Repository(own, lambda _: MysqlRules(split_dn=True))
    made = Database(lambda: MysqlWriterWorker(repository), lambda _: in_mysql(own))
    for at in (0, 60):
        many = ",".join(f"C{n}={n}" for n in range(at, at + 60))
        made.write(made.batch([[many, 0, 1, 2]]))
    made.write(made.batch([[f"{'K' * 300}=1,C1=1", 0, 1, 2]]))
    found = parts_of(repository)
    assert [len(parts) for parts in found.values()] == [60, MOST_COLUMNS - 60, 1]
    repository.close()


def columns_of(repository: Repository, group: str) -> dict[str, tuple[str, str]]:
    """Returns type and comment of each column."""
    with repository.connection.transaction() as execute:
        rows = execute(
            "SELECT column_name, data_type, column_comment FROM information_schema.columns "
            "WHERE table_schema = DATABASE() AND table_name = %s AND column_name NOT IN %s",
            (f"4ga_{group.lower()}", KEY_COLUMNS),
        )
    return {name: (kind, comment) for name, kind, comment in rows}


def test_columns_have_the_declared_types_and_their_units_as_comments(server: Mysql) -> None:
    repository = Repository(server)
    sink = MysqlWriterWorker(repository)
    made = Database(lambda: sink, lambda _: in_mysql(server))
    types = {"a": "integer", "b": "vector", "c": "text", "d": "integer"}
    units = {"a": "it's a \\ unit", "d": "octets"}
    counters = ("a", "b", "c", "d", "e")
    made.write(made.batch([["o1", 0, 1, [1, 2], 3, 0.5, 2**60]], counters=counters, types=types, units=units))
    found = columns_of(repository, made.group)
    assert found.pop("b") in (("json", ""), ("longtext", ""))  # MariaDB's JSON is a LONGTEXT with a check
    assert found == {
        "a": ("bigint", "it's a \\ unit"), "c": ("longtext", ""), "d": ("double", "octets"), "e": ("bigint", "")
    }  # fmt: skip
    made.write(made.batch([["o2", 0, "up"]], counters=("a",), ver=2))
    assert columns_of(repository, made.group)["a"] == ("longtext", "it's a \\ unit")
    assert {key: row["a"] for key, row in made.rows().items()} == {("e1", "o1"): 1, ("e1", "o2"): "up"}
    repository.close()
