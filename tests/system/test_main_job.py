"""The whole pipeline: simulated and real files over SFTP, every value in both databases, every file settled."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

from services.ch_bridge.settings import clickhouse_of
from services.mysql_writer.connection import connect
from services.mysql_writer.settings import mysql_of
from shared import topics
from shared.cycle_figures import CycleFigures
from shared.messages import CounterBatch
from shared.settings import Settings
from tests.system.conftest import begin, eventually
from tools.cli.dev.demo import SAMPLE_FILES, with_dictionaries, written_so_far
from tools.cli.dev.pipeline import Pipeline
from tools.cli.operate import cycles, ledger, verify
from tools.cli.operate.backfill import backfill
from tools.cli.operate.stored import StoredRow, in_clickhouse, in_mysql
from tools.simulator.truth import Manifest, Written

ERICSSON = "A20230515.0700_0100-0715_0100_GNODEB-0.xml"


def test_every_value_of_every_file_is_stored_once_and_every_file_is_moved_away(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    samples = tmp_path / "data" / "samples"
    samples.mkdir(parents=True)
    for sample in SAMPLE_FILES.iterdir():
        (samples / sample.name).write_bytes(sample.read_bytes())
    (samples.parent / "golden").symlink_to(SAMPLE_FILES.parent / "golden")
    (samples / "broken.xml").write_bytes(b"<measCollecFile><measData></measCollecFile>")
    simulated = ("--systems", "4ga:4,5ga:4", "--cycles", "2", "--cycle-s", "4", "--plant", str(samples))
    overrides = {**pipeline.overrides, **with_dictionaries(pipeline.simulator)}
    settings = begin(replace(pipeline, overrides=overrides), *simulated)

    def stages() -> Counter[str]:
        return Counter(file.stage for file in ledger.read_ledger(settings.kafka).files.values())

    eventually(lambda: written_so_far(pipeline).get("cycles") == 2, 60, "two cycles are written")
    files = written_so_far(pipeline)["files"]
    eventually(lambda: stages() == {"done": files - 1, "error": 1}, 120, f"{files} files through")

    outcomes = verify.settled_outcomes(settings, pipeline.simulator, within_s=60)
    assert {(o.sink, o.system) for o in outcomes} == {("mysql", "4ga"), ("clickhouse", "4ga"), ("mysql", "5ga")}
    for outcome in outcomes:
        assert outcome.right, outcome
        assert outcome.stored == outcome.expected > 1000

    batches = [
        CounterBatch.decode(record.value or b"")
        for record in ledger.topic_records(settings.kafka, topics.counters_topic("5ga"))
    ]
    assert all(set(batch.counters) == set(batch.types) == set(batch.units) for batch in batches)
    assert {kind for batch in batches for kind in batch.types.values()} == {"number", "vector"}

    lines = [
        line for line in Manifest(pipeline.simulator).lines() if isinstance(line, Written) and line.system == "4ga"
    ]
    first = [line for line in lines if line.end_s == lines[0].end_s]

    def first_cycle() -> CycleFigures | None:
        found = cycles.read_cycles(settings.kafka)
        return next((c for c in found if (c.system, c.end_s) == ("4ga", lines[0].end_s)), None)

    values = sum(line.values for line in first)
    whole = {"mysql": values, "clickhouse": values}
    eventually(lambda: (c := first_cycle()) is not None and c.values_stored == whole, 60, "the first cycle's figures")
    figures = first_cycle()
    assert figures is not None
    assert (figures.expected, figures.missing, figures.found, figures.done) == (5, ["samples"], 4, 4)
    assert (figures.values, figures.error, figures.lost) == (values, 0, 0)
    assert figures.latency_s["stored"]

    by_name = {f.path.rpartition("/")[2]: f for f in ledger.read_ledger(settings.kafka).files.values()}
    assert by_name[ERICSSON].values == 2667
    assert (by_name["broken.xml"].stage, by_name["broken.xml"].values) == ("error", 0)
    folder = pipeline.simulator / "files" / "4ga" / "samples" / "pm"
    assert {path.name for path in folder.iterdir()} == {"done", "error"}
    assert {path.name for path in (folder / "error").iterdir()} == {"broken.xml", "broken.xml.reason.json"}
    assert "line 1" in (folder / "error" / "broken.xml.reason.json").read_text()

    backfilled(pipeline, settings, lines[0].end_s)


def backfilled(pipeline: Pipeline, settings: Settings, end_s: int) -> None:
    """Deleted rows are restored from done/; other values, the files and the ledger stay unchanged."""

    def rows() -> dict[str, str]:
        clickhouse = in_clickhouse(clickhouse_of(settings), "4ga", {group: set() for group in groups})
        return {
            sink: checksum(rows) for sink, rows in (("mysql", in_mysql(mysql_of(settings))), ("clickhouse", clickhouse))
        }

    def files() -> dict[str, tuple[str, int, int]]:
        found = ledger.read_ledger(settings.kafka).files.values()
        return {f.file_id: (f.stage, f.values, f.nulls) for f in found}

    groups = {row.key[1] for row in in_mysql(mysql_of(settings)) if row.key[0] == "4ga"}
    before, before_files = rows(), files()
    lying = sorted(path for path in pipeline.simulator.rglob("*") if path.is_file() and "done" in path.parts)
    assert before["mysql"] != before["clickhouse"] != checksum([])
    system = settings.system("4ga")
    assert system is not None
    for lost in (False, True):
        if lost:
            with connect(mysql_of(settings), mysql_of(settings).database) as line, line.cursor() as cursor:
                cursor.execute("SELECT `table_name` FROM pm_group WHERE `system` = '4ga' AND part > 0")
                for (table,) in cursor.fetchall():
                    cursor.execute(f"DELETE FROM `{table}` WHERE ts = FROM_UNIXTIME({end_s}) AND obj % 2 = 0")
                line.commit()
            assert rows() != before
        ends, troubles = backfill(settings, system, (end_s, end_s + 1), 2, lambda _ended, _of: None)
        assert (ends, troubles) == ({"done": 4}, [])
        assert rows() == before
    assert files() == before_files
    assert sorted(p for p in pipeline.simulator.rglob("*") if p.is_file() and "done" in p.parts) == lying
    assert backfill(settings, system, (0, 1), 2, lambda _ended, _of: None) == ({}, [])


def checksum(rows: Iterable[StoredRow]) -> str:
    """Returns a checksum of everything that a reader finds."""
    seen = sorted(repr((row.key, row.suspect, sorted(row.values.items()))) for row in rows)
    return blake2b("\n".join(seen).encode()).hexdigest()
