"""The HTTP front behaves like ClickHouse for its clients: the real clickhouse-connect, and plain HTTP like curl's."""

import socket
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import urlencode

import clickhouse_connect
import pyarrow as pa
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from tools.devstack import processes

ROOT = Path(__file__).parents[2]
READY_WITHIN_S = 60
TABLE = "(obj UInt32, ts DateTime, v Nullable(Float64)) ENGINE = MergeTree ORDER BY obj"
DEDUPLICATES = "SETTINGS non_replicated_deduplication_window = 100"
COLUMNS = ["obj", "ts", "v"]


@dataclass(frozen=True)
class Front:
    """A front of its own, with methods to send requests to it."""

    home: Path
    port: int

    def start(self) -> processes.Process:
        argv = ["-m", "tools.devstack.clickhouse_front", "--path", str(self.home / "data"), "--port", str(self.port)]
        process = processes.start(self.home, "front", [sys.executable, *argv], cwd=ROOT)
        until_s = monotonic() + READY_WITHIN_S
        while not self.answers():
            assert process.alive(), process.log_tail()
            assert monotonic() < until_s
        return process

    def answers(self) -> bool:
        try:
            return self.http(b"SELECT 1")[:2] == (200, b"1\n")
        except OSError:
            return False

    def client(self, database: str = "pmflow", **options: Any) -> Any:
        return clickhouse_connect.get_client(dsn=f"http://127.0.0.1:{self.port}/{database}", **options)

    def http(
        self, body: bytes, headers: dict[str, str] | None = None, **parameters: str
    ) -> tuple[int, bytes, str | None]:
        """Returns the status, the answer and ClickHouse's error code."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("POST", f"/?{urlencode(parameters)}", body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers["X-ClickHouse-Exception-Code"]
        finally:
            connection.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    served = Front(tmp_path_factory.mktemp("front"), free_port())
    process = served.start()
    try:
        served.client("default").command("CREATE DATABASE pmflow")
        yield served
    finally:
        process.stop()


@pytest.fixture
def table(front: Front) -> str:
    """Creates a table for one test."""
    name = f"t{uuid.uuid4().hex[:8]}"
    front.client().command(f"CREATE TABLE {name} {TABLE} {DEDUPLICATES}")
    return name


def rows(front: Front, table: str) -> list[tuple[int, float | None]]:
    return list(front.client().query(f"SELECT obj, v FROM {table} ORDER BY obj").result_rows)


def test_inserted_columns_are_read_back_unchanged(front: Front, table: str) -> None:
    client = front.client()
    done = client.insert(table, [[1, 2], [0, 0], [0.1, None]], column_names=COLUMNS, column_oriented=True)
    assert done.written_rows == 2
    assert rows(front, table) == [(1, 0.1), (2, None)]
    assert client.query_arrow(f"SELECT v FROM {table} ORDER BY obj")["v"].to_pylist() == [0.1, None]


def test_arrow_is_inserted_as_a_table_and_as_a_stream(front: Front, table: str) -> None:
    arrow = pa.table({"obj": pa.array([1], pa.uint32()), "ts": [0], "v": [0.5]})
    client = front.client()
    client.insert_arrow(table, arrow.set_column(0, "obj", [pa.array([2], pa.uint32())]))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, arrow.schema) as stream:
        stream.write_table(arrow)
    client.raw_insert(table, insert_block=sink.getvalue().to_pybytes(), fmt="ArrowStream")
    assert rows(front, table) == [(1, 0.5), (2, 0.5)]


def test_the_same_token_twice_inserts_once(front: Front, table: str) -> None:
    for token in ("a", "a", "b"):
        front.client().insert(table, [[1, 0, 1.0]], COLUMNS, settings={"insert_deduplication_token": token})
    assert len(rows(front, table)) == 2


@pytest.mark.parametrize("method", ["lz4", "zstd", "gzip"])
def test_compressed_bodies_are_read(front: Front, table: str, method: str) -> None:
    front.client(compress=method).insert(table, [[n, 0, 1.0] for n in range(1000)], COLUMNS)
    assert len(rows(front, table)) == 1000


def test_a_body_in_chunks_is_read(front: Front, table: str) -> None:
    connection = HTTPConnection("127.0.0.1", front.port, timeout=30)
    chunks = [f"INSERT INTO pmflow.{table} FORMAT TSV\n".encode(), b"1\t1700000000\t1", b".5\n2\t1700000000\t2\n"]
    connection.request("POST", "/", iter(chunks), encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, b"")
    connection.close()
    assert rows(front, table) == [(1, 1.5), (2, 2.0)]


@pytest.mark.parametrize("text", ["plain", "it's", r"back\slash", "tab\there", "ünï", ""])
def test_parameters_of_a_query_arrive_unchanged(front: Front, text: str) -> None:
    assert front.client().query("SELECT {text:String}", parameters={"text": text}).result_rows == [(text,)]


def test_parameters_and_settings_of_a_query_do_not_outlive_it(front: Front) -> None:
    client = front.client()
    before = client.query("SELECT getSetting('max_block_size')").result_rows
    client.query("SELECT {a:Int32}", parameters={"a": 1}, settings={"max_block_size": 7})
    with pytest.raises(DatabaseError, match="456"):
        client.query("SELECT {a:Int32}")
    assert client.query("SELECT getSetting('max_block_size')").result_rows == before


def test_a_refused_setting_leaves_no_other_setting_behind(front: Front) -> None:
    assert front.http(b"SELECT 1", max_block_size="7", nosuch="1")[2] == "115"
    assert front.http(b"SELECT getSetting('max_block_size')")[1] != b"7\n"


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO {table} VALUES (1, 0, 1.5)",
        "INSERT INTO {table} (obj, ts, v) VALUES (1, 0, 1.5)",
        "INSERT INTO {table} SELECT 1, 0, 1.5",
        "INSERT INTO {table} FORMAT TSV\n1\t1700000000\t1.5\n",
        "insert into `{table}` (`obj`, `ts`, `v`) format TSV\n1\t1700000000\t1.5\n",
        "INSERT INTO pmflow.{table} SETTINGS insert_deduplication_token = 'x' FORMAT TSV\n1\t1700000000\t1.5\n",
        'INSERT INTO {table} FORMAT JSONEachRow {{"obj": 1, "ts": 0, "v": 1.5}}',
        "INSERT INTO {table} SELECT 1, 0, length(' format a\n') * 0.15",
    ],
)
def test_inserts_are_accepted_in_every_usual_spelling(front: Front, table: str, statement: str) -> None:
    assert front.http(statement.format(table=table).encode(), database="pmflow")[:2] == (200, b"")
    assert rows(front, table) == [(1, 1.5)]


def test_a_statement_may_be_in_the_url_and_its_data_in_the_body(front: Front, table: str) -> None:
    for query, body in (("VALUES", b"(1, 0, 1.5)"), ("FORMAT TSV", b"2\t1700000000\t2\n")):
        assert front.http(body, query=f"INSERT INTO {table} {query}", database="pmflow")[0] == 200
    assert rows(front, table) == [(1, 1.5), (2, 2.0)]


@pytest.mark.parametrize(
    ("statement", "answer"),
    [
        ("SELECT 1 AS a FORMAT JSONEachRow", b'{"a":1}\n'),
        ("SELECT 1 AS a FORMAT JSONEachRow SETTINGS max_threads = 1", b'{"a":1}\n'),
        ("SELECT 1 -- not in format CSV", b"1\n"),
        ("SELECT 'ENGINE = Kafka'", b"ENGINE = Kafka\n"),
    ],
)
def test_answers_have_the_requested_format(front: Front, statement: str, answer: bytes) -> None:
    assert front.http(statement.encode())[:2] == (200, answer)


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        (b"SELEC 1", "62"),
        (b"SELECT nope", "47"),
        (b"SELECT 1 FROM nope", "60"),
        (b"INSERT INTO nope FORMAT TSV\n1\n", "60"),
        (b"INSERT INTO FUNCTION null('a Int32') FORMAT TSV\nno number\n", "27"),
    ],
)
def test_an_error_of_the_engine_has_its_code(front: Front, statement: bytes, code: str) -> None:
    status, said, told = front.http(statement)
    assert (status >= 400, told) == (True, code)
    assert said.startswith(f"Code: {code}".encode())


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", b"not packed"),
        ("lz4", b"not packed"),
        ("zstd", b"not packed"),
        ("gzip", b"\x1f\x8b\x08\x00"),
        ("br", b"SELECT 1"),
        ("identity", b"SELECT '\xff'"),
    ],
)
def test_an_unreadable_body_gets_an_answer_instead_of_a_closed_connection(
    front: Front, encoding: str, body: bytes
) -> None:
    status, said, _ = front.http(body, {"Content-Encoding": encoding})
    assert status == 400
    assert said


@pytest.mark.parametrize("header", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
def test_an_incomplete_request_is_not_executed(front: Front, table: str, header: str) -> None:
    body = f"INSERT INTO pmflow.{table} FORMAT TSV\n1\t1700000000\t1.5\n"
    sent = f"{len(body):x}\r\n{body}\r\n" if "chunked" in header else body
    with socket.create_connection(("127.0.0.1", front.port)) as line:
        line.sendall(f"POST / HTTP/1.1\r\nHost: front\r\n{header}\r\n\r\n{sent}".encode())
        line.shutdown(socket.SHUT_WR)
        assert line.recv(1) == b""
    assert rows(front, table) == []


@pytest.mark.parametrize(
    "engine",
    ["ENGINE = Kafka", "ENGINE Kafka", "engine=kafka", "ENGINE /* a */ = -- b\n Kafka", "ENGINE = `Kafka`"],
)
def test_a_kafka_table_is_refused_before_it_damages_the_path(front: Front, engine: str) -> None:
    """The engine itself would leave metadata behind with which it cannot start again."""
    statement = f"CREATE TABLE spoiler (a Int32) {engine}('127.0.0.1:1', 't', 'g', 'TSV')"
    assert front.http(statement.encode())[::2] == (500, "48")
    assert front.http(b"EXISTS TABLE spoiler")[1] == b"0\n"


def test_clients_in_several_threads_do_not_affect_each_other(front: Front, table: str) -> None:
    def work(number: int) -> None:
        client = front.client()
        for turn in range(10):
            client.insert(table, [[number * 10 + turn, 0, 1.0]], COLUMNS)
            assert client.query("SELECT {n:Int32}", parameters={"n": number}).result_rows == [(number,)]

    with ThreadPoolExecutor(max_workers=6) as pool:
        list(pool.map(work, range(6)))
    assert [obj for obj, _ in rows(front, table)] == list(range(60))


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_acknowledged_rows_survive_the_end_of_the_process_under_load(tmp_path: Path, end: str) -> None:
    front = Front(tmp_path, free_port())
    process = front.start()
    try:
        front.http(f"CREATE TABLE t {TABLE}".encode())
        acknowledged = []

        def write(number: int) -> None:
            try:
                for obj in range(number, 10_000_000, 3):
                    if front.http(f"INSERT INTO t FORMAT TSV\n{obj}\t1700000000\t1\n".encode())[0] != 200:
                        return
                    acknowledged.append(obj)
            except OSError:
                return

        with ThreadPoolExecutor(max_workers=3) as pool:
            writers = [pool.submit(write, number) for number in range(3)]
            until_s = monotonic() + READY_WITHIN_S
            while len(acknowledged) < 30:
                assert monotonic() < until_s
            getattr(process, end)()
            for writer in writers:
                writer.result()
        if end == "stop":
            assert "Traceback" not in process.log_tail(200)

        process = front.start()
        stored = set(map(int, front.http(b"SELECT obj FROM t")[1].split()))
        assert set(acknowledged) <= stored
    finally:
        process.stop()
