"""Measures the cost of taking each counter from the newest file that has it (docs/decisions/0017-versions.md).

Compares three ways on one engine. `final` is ReplacingMergeTree(ver), read with FINAL; it loses the counters that a
newer file omits. `read-merge` is the same, but each insert first reads the rows it replaces and fills the gaps. `view`
is the way of pmflow: `ver` in the sorting key, argMaxIf in a view. Prints milliseconds; the last line is a JSON object
of ratios.

    python bench/versions.py            # starts the dev stack's engine in a directory of its own
"""

import json
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

import clickhouse_connect
import pyarrow as pa
from clickhouse_connect.driver.client import Client

from tools.devstack import processes, stack

COUNTERS = [f"c{n}" for n in range(50)]
OBJECTS, PERIODS = 2000, 50
ROUNDS = 7
KEYS = "element, object, ts, gp_s"
QUERIES = {
    "by object, all periods": "SELECT object, sum(c1), avg(c2) FROM {t} GROUP BY object FORMAT Null",
    "one object": "SELECT ts, c1, c2 FROM {t} WHERE element = 'e1' AND object = 'o77' FORMAT Null",
    "one period": "SELECT object, c1, c2 FROM {t} WHERE ts = 1700000000 FORMAT Null",
}


def rows(period: int, ver: int) -> pa.Table:
    rng = random.Random(period)
    columns = {
        "ts": pa.array([1_700_000_000 + 900 * period] * OBJECTS, pa.timestamp("s", tz="UTC")),
        "element": ["e1"] * OBJECTS,
        "object": [f"o{n}" for n in range(OBJECTS)],
        "gp_s": pa.array([900] * OBJECTS, pa.uint32()),
        "suspect": pa.array([0] * OBJECTS, pa.uint8()),
        "ver": pa.array([ver] * OBJECTS, pa.int64()),
    }
    columns |= {
        c: [float(rng.randrange(10_000)) if rng.random() > 0.7 else 0.0 for _ in range(OBJECTS)] for c in COUNTERS
    }
    return pa.table(columns)


def timed(do: Callable[[], object]) -> float:
    began = perf_counter()
    do()
    return (perf_counter() - began) * 1000


def create(client: Client, table: str, engine: str, order: str) -> None:
    counters = ", ".join(f"{c} Nullable(Float64) CODEC(ZSTD(1))" for c in COUNTERS)
    client.command(
        f"CREATE TABLE {table} (ts DateTime('UTC'), element LowCardinality(String), object LowCardinality(String), "
        f"gp_s UInt32, suspect UInt8, ver Int64, {counters}) "
        f"ENGINE = {engine} PARTITION BY toYYYYMMDD(ts) ORDER BY ({order})"
    )


def create_tables(client: Client) -> None:
    create(client, "final", "ReplacingMergeTree(ver)", KEYS)
    create(client, "read_merge", "ReplacingMergeTree(ver)", KEYS)
    create(client, "versions", "ReplacingMergeTree", f"{KEYS}, ver")
    newest = ", ".join(f"argMaxIf(r.{c}, r.ver, isNotNull(r.{c})) AS {c}" for c in COUNTERS)
    client.command(f"CREATE VIEW view AS SELECT {KEYS}, {newest} FROM versions AS r GROUP BY {KEYS}")


def measure_inserts(client: Client) -> dict[str, float]:
    """Inserts all periods in each way; prints the medians and returns their ratios to `final`."""
    inserts: dict[str, list[float]] = {"final": [], "read-merge": [], "view": []}
    for period in range(PERIODS):
        table = rows(period, 1)
        present = f"SELECT * FROM read_merge FINAL WHERE ts = {1_700_000_000 + 900 * period} AND element = 'e1'"
        inserts["final"].append(timed(lambda table=table: client.insert_arrow("final", table)))
        inserts["read-merge"].append(
            timed(lambda present=present: client.query_arrow(present))
            + timed(lambda table=table: client.insert_arrow("read_merge", table))
        )
        inserts["view"].append(timed(lambda table=table: client.insert_arrow("versions", table)))
    for way, ms in inserts.items():
        print(f"insert of {OBJECTS} rows, {way:12} {median(ms):8.1f} ms")
    return {
        f"insert_{way.replace('-', '_')}_vs_final": median(ms) / median(inserts["final"]) for way, ms in inserts.items()
    }


def measure_queries(client: Client, state: str) -> dict[str, float]:
    """Runs each query in both ways; prints the best times and returns the ratios of the view to FINAL."""
    ratios = {}
    for name, query in QUERIES.items():
        took: dict[str, list[float]] = {"final FINAL": [], "view": []}
        for _ in range(ROUNDS):
            for way, ms in took.items():
                ms.append(timed(lambda way=way, query=query: client.command(query.format(t=way))))
        best = {way: min(ms) for way, ms in took.items()}
        print(f"{name:24} {state:12} FINAL {best['final FINAL']:7.1f} ms   view {best['view']:7.1f} ms")
        ratios[f"view_vs_final, {name}, {state}"] = best["view"] / best["final FINAL"]
    return ratios


def main() -> None:
    home = Path(tempfile.mkdtemp(prefix="pmflow-bench-"))
    at = stack.up(home)
    try:
        client = clickhouse_connect.get_client(dsn=at.clickhouse_url, autogenerate_session_id=False)
        create_tables(client)
        ratios = measure_inserts(client) | measure_queries(client, "as inserted")
        for table in ("final", "versions"):
            client.command(f"OPTIMIZE TABLE {table} FINAL")
        ratios |= measure_queries(client, "merged")
        print(json.dumps({name: round(ratio, 2) for name, ratio in ratios.items()}))
        client.close()
    finally:
        stack.down(home)
        assert processes.running(home) == []


if __name__ == "__main__":
    main()
