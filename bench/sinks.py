"""Measures the CPU time per stored value, client and server together: pmflow against the usual way, in one run.

`python -m bench.sinks [--rounds N]` starts servers of its own. MySQL: the writer against PyMySQL's executemany of the
same upsert into the same table, with 10, 50 and 200 counters, and a replay of stored rows against their first write.
ClickHouse: the bridge against JSONEachRow into the same table. All start from decoded messages; pmflow does more, as it
resolves objects, sorts, and stores positions and tokens. Rounds are interleaved, each has its own periods, and the best
round counts. The last line is a JSON object of ratios; larger is better for pmflow, and keys without a number of
counters are for 50. PMFLOW_BENCH_MYSQL=host:port:pid uses another server in place of MySQL, for example MariaDB.
"""

import argparse
import json
import os
import random
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from time import process_time

import orjson
import pymysql

from bench.process_tree import own_cpu_s
from services.ch_bridge.connection import client_of
from services.ch_bridge.ddl import ROW_KEY, ROWS_SUFFIX
from services.ch_bridge.repository import ClickhouseRepository
from services.ch_bridge.settings import Clickhouse
from services.ch_bridge.sink import ClickhouseBridge
from services.mysql_writer.ddl import CounterColumn, placeholders, quoted_identifier
from services.mysql_writer.render import chunks, datetime_number, upserts
from services.mysql_writer.repository import Repository
from services.mysql_writer.settings import Mysql
from services.mysql_writer.sink import MysqlWriterWorker
from shared.messages import CounterBatch
from shared.sinks.names import table_names
from shared.sinks.rules import StorageRules
from tools.devstack import processes, stack

WIDTHS = (10, 50, 200)
ELEMENTS, OBJECTS = 10, 100
"""Their product is the number of rows per period."""
VALUES = 400_000
"""Approximate number of values per round."""
CLICKHOUSE_PERIODS_AT_ONCE = 10
CLICKHOUSE_VALUES = 2_000_000
"""Least number of values per round, as the CPU time of processes is counted in hundredths of a second."""
PARTITION = ("pm.counters.bench", 0)
Period = Sequence[CounterBatch]


class Periods:
    """An endless series of periods with random counters, a third of them zeros as in real files."""

    def __init__(self, group: str, width: int) -> None:
        self.group, self.width, self.last = group, width, 0
        self.random = random.Random(width)

    def take(self, count: int) -> list[Period]:
        return [self._one() for _ in range(count)]

    def _one(self) -> Period:
        self.last += 1
        draw = self.random.random
        return [
            CounterBatch(
                system="bench", file_id=f"{self.last:08x}{e:08x}", element=f"e{e}", group=self.group, job="", gp_s=900,
                end_s=1_700_000_000 + 900 * self.last, end_offset_min=0, ver=self.last,
                counters=[f"c{n}" for n in range(self.width)],
                rows=[
                    [f"o{o}", 0, *(0 if draw() < 0.3 else int(draw() * 1e6) if draw() < 0.7 else round(draw() * 100, 2)
                                   for _ in range(self.width))]
                    for o in range(OBJECTS)
                ],
            )
            for e in range(ELEMENTS)
        ]  # fmt: skip


def spent(pid: int, work: Callable[[], object]) -> tuple[float, float]:
    """Returns the CPU seconds that some work takes in this process and in the server."""
    client, server = process_time(), own_cpu_s(pid)
    work()
    return process_time() - client, own_cpu_s(pid) - server


class Contest:
    """Compares ways to store the same number of values; the best round of each counts."""

    def __init__(self, title: str, values: int) -> None:
        self.title, self.values = title, values
        self.best: dict[str, tuple[float, float]] = {}

    def add(self, way: str, took: tuple[float, float]) -> None:
        self.best[way] = min(self.best.get(way, took), took, key=sum)

    def show(self) -> None:
        for way, (client, server) in self.best.items():
            ns = [part * 1e9 / self.values for part in (client, server)]
            print(f"{self.title:24} {way:12} client {ns[0]:7.0f}  server {ns[1]:7.0f}  ns per value")

    def ratio(self, other: str, ours: str) -> float:
        """Returns how many times as much CPU time the other way takes."""
        return round(sum(self.best[other]) / sum(self.best[ours]), 2)


def executemany(
    line: "pymysql.Connection[pymysql.cursors.Cursor]", ids: dict[tuple[str, str], int], of: Period
) -> None:
    """Executes the writer's own statement with values that PyMySQL escapes."""
    (chunk,) = chunks(of)
    table = next(table_names("bench", of[0].group)).lower()
    statement = next(upserts(table, COLUMNS[of[0].group], chunk, ids, 1)).decode()
    update = statement[statement.index(" ON DUPLICATE") :]
    names = ["ts", "obj", "gp_s", "suspect", "ver", *(quoted_identifier(c) for c in of[0].counters)]
    rows = [
        (datetime_number(b.end_s), ids[b.element, row[0]], b.gp_s, row[1], b.ver, *row[2:])
        for b in of
        for row in b.rows
    ]
    with line.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO {quoted_identifier(table)} ({', '.join(names)}) VALUES ({placeholders(names)}){update}", rows
        )
    line.commit()


COLUMNS: dict[str, dict[str, CounterColumn]] = {}  # by group, once the writer has created its table


def mysql(at: Mysql, pid: int, width: int, rounds: int) -> Contest:
    periods = Periods(f"W{width}", width)
    count = max(2, VALUES // (width * ELEMENTS * OBJECTS))
    repository = Repository(at)
    writer = MysqlWriterWorker(repository)
    writer.resume([PARTITION])
    (warm,) = periods.take(1)
    writer.write(warm, {PARTITION: 0})
    (chunk,) = chunks(warm)
    COLUMNS[periods.group] = dict(*repository.schema.tables(chunk).values())
    objects = {(b.element, row[0]) for b in warm for row in b.rows}
    ids = repository.objects.numbers_of("bench", objects, split_dn=False)
    contest = Contest(f"mysql, {width} counters", count * width * ELEMENTS * OBJECTS)
    with pymysql.connect(host=at.host, port=at.port, user=at.user, database=at.database) as line:
        for _ in range(rounds):
            ours, others = periods.take(count), periods.take(count)
            for way in ("pmflow", "replay"):
                contest.add(way, spent(pid, lambda ours=ours: [writer.write(p, {PARTITION: 0}) for p in ours]))
            contest.add("executemany", spent(pid, lambda others=others: [executemany(line, ids, p) for p in others]))
    repository.close()
    return contest


def clickhouse(at: Clickhouse, pid: int, width: int, rounds: int) -> Contest:
    periods = Periods(f"W{width}", width)
    server = ClickhouseRepository(at, lambda _: StorageRules(split_dn=True))
    bridge = ClickhouseBridge(server)
    bridge.write(periods.take(1)[0], {})
    table = next(table_names("bench", periods.group)) + ROWS_SUFFIX
    values = CLICKHOUSE_PERIODS_AT_ONCE * width * ELEMENTS * OBJECTS
    writes = max(1, CLICKHOUSE_VALUES // values)
    contest = Contest(f"clickhouse, {width} counters", writes * values)
    with client_of(at) as client:

        def json_each_row(of: Period) -> None:
            lines = [
                orjson.dumps(dict(zip((*ROW_KEY, "suspect", "ver", *b.counters), values, strict=True)))
                for b in of
                for row in b.rows
                for values in [(b.end_s, b.element, row[0], b.gp_s, row[1], b.ver, *row[2:])]
            ]
            client.raw_insert(table, insert_block=b"\n".join(lines), fmt="JSONEachRow")

        def take() -> list[Period]:
            return [[b for p in periods.take(CLICKHOUSE_PERIODS_AT_ONCE) for b in p] for _ in range(writes)]

        for _ in range(rounds):
            ours, others = take(), take()
            contest.add("pmflow", spent(pid, lambda ours=ours: [bridge.write(of, {}) for of in ours]))
            contest.add("JSONEachRow", spent(pid, lambda others=others: [json_each_row(of) for of in others]))
    server.close()
    return contest


def server_pid(home: Path, name: str) -> int:
    found = processes.find(home, name)
    assert found is not None
    return found.pid


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--rounds", type=int, default=3)
    rounds = asked.parse_args().rounds
    home = Path(tempfile.mkdtemp(prefix="pmflow-bench-"))
    at = stack.up(home)
    try:
        host, port, pid = at.mysql_host, at.mysql_port, server_pid(home, "mysql")
        if named := os.environ.get("PMFLOW_BENCH_MYSQL"):
            host, port, pid = (of(part) for of, part in zip((str, int, int), named.split(":"), strict=True))
        database = Mysql(host=host, port=port, user="root", database="pmflow_bench")
        of_mysql = {width: mysql(database, pid, width, rounds) for width in WIDTHS}
        url = Clickhouse(url=f"{at.clickhouse_url}/bench")
        of_clickhouse = {width: clickhouse(url, server_pid(home, "clickhouse"), width, rounds) for width in WIDTHS}
        ratios: dict[str, float] = {}
        for width in (50, *WIDTHS):
            mark = "" if not ratios else f", {width} counters"
            ratios[f"mysql_vs_executemany{mark}"] = of_mysql[width].ratio("executemany", "pmflow")
            ratios[f"replay_vs_first{mark}"] = of_mysql[width].ratio("pmflow", "replay")
            ratios[f"clickhouse_vs_jsoneachrow{mark}"] = of_clickhouse[width].ratio("JSONEachRow", "pmflow")
        for contest in (*of_mysql.values(), *of_clickhouse.values()):
            contest.show()
        print(json.dumps(ratios))
    finally:
        stack.down(home)
        assert processes.running(home) == []


if __name__ == "__main__":
    main()
