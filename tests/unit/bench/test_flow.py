"""The arithmetic, the files and the checks of bench.flow and bench.growth."""

import doctest
import sqlite3
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from time import time
from types import ModuleType
from typing import Any

import orjson
import pytest

from bench import flow, flow_files, flow_sums, flow_watch, growth
from bench.flow_files import GP_S, LOADS, Load, period_ends, publish, seconds_until, stage, write_local_inventory
from bench.flow_sums import Column, CounterSum, Sums, counted_columns, differences, sums_of
from bench.flow_watch import NO_PROGRESS_S, CannotSucceed, FileKey, Progress, key_of
from shared.inventory import endpoints
from shared.messages import FileStatus, Stage
from shared.settings import System
from tools.simulator.elements import SimulatedElements
from tools.simulator.generate import pm_file
from tools.simulator.truth import Manifest, Written, expected_rows
from tools.simulator.truth_row import TruthRow

TWO = Load(elements=2, files=2)


def status(
    name: str, stage: Stage = "done", *, found_s: float = 0.0, stored_s: float = 0.0, at_s: float = 0.0
) -> FileStatus:
    return FileStatus(
        file_id="0" * 16, system="4ga", endpoint="e", element="e", path=f"/pm/{name}", size=1, mtime_s=1, epoch=1,
        stage=stage, found_s=found_s, stored_s=stored_s, at_s=at_s, values=100, reason="it is broken",
    )  # fmt: skip


def by_key(*statuses: FileStatus) -> dict[FileKey, FileStatus]:
    return {key_of(found): found for found in statuses}


@pytest.mark.parametrize("module", [flow, flow_files, flow_sums, growth])
def test_the_examples_in_the_docstrings_hold(module: ModuleType) -> None:
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0


# --- figures


def test_a_rate_is_from_the_first_file_found_to_the_last_one_done() -> None:
    files = by_key(*(status(f"{n}", found_s=100.0 + n, stored_s=105.0 + n, at_s=106.0 + n) for n in range(11)))
    took_s, latencies_s = flow.times_of(files, dict.fromkeys(files, 100.0))
    assert took_s == 16.0
    assert latencies_s == [5.0 + n for n in range(11)]
    burst = flow.Burst(11, 1100, took_s, {}, 20.0, latencies_s, 0.0)
    assert (burst.files_s, burst.values_s) == (11 / 16, 1100 / 16)


@pytest.mark.parametrize(
    ("found", "share", "wanted"),
    [([5.0], 0.5, 5.0), ([5.0], 0.95, 5.0), (range(1, 101), 0.5, 51), (range(1, 101), 0.95, 96), ([1, 9], 1.0, 9)],
)
def test_a_percentile_is_a_value_that_was_measured(found: Sequence[float], share: float, wanted: float) -> None:
    assert flow.percentile(found, share) == wanted


def test_the_cpu_of_the_product_is_that_of_its_services() -> None:
    spent_s = {"scanner": 1.0, "tracker": 2.0, "mysql": 4.0, "simulator": 8.0}
    assert flow.product_of(spent_s) == 3.0
    last = flow.figures(flow.Burst(400, 4_000_000, 10.0, spent_s, 20.0, [2.0], 0.0), "cold_")
    assert (last["cold_product_ms_per_file"], last["cold_ms_per_file"]) == (7.5, 37.5)
    assert (last["cold_files_s"], last["cold_values_s"], last["cold_s_per_million_values"]) == (40, 400_000, 3.75)


def test_the_share_of_idle_services_is_what_they_spend_while_cpu_is_counted() -> None:
    burst = flow.Burst(1000, 180_000, 10.0, {"scanner": 8.0}, 40.0, [], 0.0)
    assert flow.idle_ms(burst, {"scanner": 0.02, "tracker": 0.03, "mysql": 0.5}) == pytest.approx(2.0)


def test_options_change_the_size_of_a_load_and_nothing_else() -> None:
    given = flow.load_of(["--load", "burst", "--elements", "10", "--counters", "1000"])
    assert given == Load(elements=10, files=1, counters=1000, scan_s=20, scans=3)


# --- files


def test_loads_have_the_sizes_that_the_targets_name() -> None:
    large = LOADS["large"]
    assert large.cells * large.groups * large.counters == 49_000
    assert LOADS["small"].sizes == {"4ga": 500, "5ga": 500}
    assert {load.cells * load.groups * load.counters for name, load in LOADS.items() if name != "large"} == {180}


@pytest.mark.parametrize(("scan_s", "cron"), [(20, "*/20 * * * * *"), (60, "0 */1 * * * *"), (120, "0 */2 * * * *")])
def test_scans_start_at_multiples_of_their_interval(scan_s: int, cron: str) -> None:
    assert Load(elements=2, files=1, scan_s=scan_s).schedule == cron
    assert (1000.5 + seconds_until(1000.5, scan_s, 2.0)) % scan_s == scan_s - 2.0


def test_periods_of_a_burst_follow_each_other_without_a_gap() -> None:
    assert period_ends(900_000, 3) == [900_000 - 2 * GP_S, 900_000 - GP_S, 900_000]
    assert flow.FIRST_END_S % GP_S == 0


def test_files_of_a_burst_appear_whole_on_their_elements_and_are_in_the_manifest(tmp_path: Path) -> None:
    elements = SimulatedElements(tmp_path / "sim", TWO.sizes, TWO.shape, in_place_share=0.0)
    made, sums = stage(elements, tmp_path / "staged", [9000, 9900])
    assert not list((tmp_path / "sim" / "files").rglob("*.gz"))
    before_s = time()
    written_s = publish(made)
    assert {(p.parents[1].name, p.name) for p in (tmp_path / "sim" / "files").rglob("*.gz")} == written_s.keys()
    assert all(before_s <= at_s <= time() for at_s in written_s.values())
    assert all(int(before_s) <= file.target.stat().st_mtime for file in made)
    lines = [line for line in Manifest(tmp_path / "sim").lines() if isinstance(line, Written)]
    assert [line.file().packed for line in lines] == [file.target.read_bytes() for file in made]
    assert {(line.system, line.end_s) for line in lines} == {(s, e) for s in ("4ga", "5ga") for e in (9000, 9900)}
    assert differences(sums_of(expected_rows(tmp_path / "sim")), sums) == []
    assert sums.values == sum(line.values for line in lines)


def test_local_elements_are_read_from_their_folders(tmp_path: Path) -> None:
    elements = SimulatedElements(tmp_path, Load(elements=4, files=1).sizes, TWO.shape)
    write_local_inventory(elements)
    found = endpoints(System(name="5ga", inventory=str(tmp_path / "inventory" / "5ga.yaml")))
    assert {(one.name, one.protocol, one.directory) for one in found.values()} == {
        (name, "local", str(elements.folder("5ga", name))) for name in ("5ga-001", "5ga-002")
    }


# --- sums


def row(**values: str | list[str | None] | None) -> TruthRow:
    return TruthRow("5ga", "element", "group", "object", 900, 900, suspect=False, values=values)


def test_sums_tell_a_missing_a_doubled_and_a_wrong_value_and_a_row_on_the_wrong_element() -> None:
    wanted = sums_of([row(a="9007199254740991", b="1.5"), row(a="7", b=None)])
    assert differences(wanted, sums_of([row(a="9007199254740991", b="1.5"), row(a="7", b=None)])) == []
    for stored, sign in (
        ([row(a="9007199254740991", b="1.5")], "1 rows, not 2"),
        ([row(a="9007199254740991", b="1.5"), row(a="7", b=None), row()], "3 rows, not 2"),
        ([row(a="9007199254740991", b=None), row(a="7")], "b: 0 values, total 0.000; not 1 values, total 1.500"),
        ([row(a="9007199254740991", b="1.51"), row(a="7")], "b: 1 values, total 1.510"),
        ([row(a="9007199254740990", b="1.5"), row(a="7")], "a: 2 values"),
        ([row(a="9007199254740991", b="1.5", c="0"), row(a="7")], "c: 1 values, total 0.000; not 0 values"),
    ):
        assert any(sign in line for line in differences(wanted, sums_of(stored))), sign
    moved = Sums(wanted.counters, Counter({("5ga", "group", "other"): 2}))
    assert len(differences(wanted, moved)) == 2


def test_sums_of_parts_are_the_sums_of_the_whole() -> None:
    rows = pm_file(TWO.shape, "5ga", "5ga-001", 9000).rows
    sums = sums_of(rows[:4])
    sums.add(sums_of(rows[4:]))
    assert differences(sums_of(rows), sums) == []
    assert sums.values == sum(row.present for row in rows)


def test_a_database_counts_and_adds_up_numbers_and_the_lengths_of_vectors() -> None:
    database = sqlite3.connect(":memory:")
    database.create_function("LENGTH_OF", 1, lambda text: None if text is None else len(orjson.loads(text)))
    database.execute("CREATE TABLE t (a INTEGER, b TEXT, c INTEGER)")
    database.executemany("INSERT INTO t VALUES (?, ?, ?)", [(2_000_007, "[1,null]", None), (4, None, None)])

    def ask(sql: str) -> list[Any]:
        return database.execute(sql).fetchall()

    columns = [Column(("5ga", "group"), name, "t", f"`{name}`", name != "b") for name in "abc"]
    found = counted_columns(columns, "{0} % {1}", "LENGTH_OF({0})", ask)
    assert found == {("5ga", "group", "a"): CounterSum(2, 5.0), ("5ga", "group", "b"): CounterSum(1, 2.0)}
    database.close()


def test_no_query_asks_for_more_counters_than_databases_take() -> None:
    columns = [Column(("5ga", "group"), f"{n}", "t", f"`{n}`", is_number=True) for n in range(1200)]
    portions = [(table, len(found)) for table, found in flow_sums.portions(columns)]
    assert portions == [("t", 500), ("t", 500), ("t", 200)]


# --- watching


def test_a_burst_goes_on_while_files_change_their_stage() -> None:
    wanted, progress = {("e", "a"), ("e", "b")}, Progress(0.0)
    progress.check(wanted, {}, 100.0)
    progress.check(wanted, by_key(status("a", "parsed")), 110.0)
    progress.check(wanted, by_key(status("a", "parsed")), 110.0 + NO_PROGRESS_S)
    progress.check(wanted, by_key(status("a")), 111.0 + NO_PROGRESS_S)
    with pytest.raises(CannotSucceed) as stopped:
        progress.check(wanted, by_key(status("a")), 112.0 + 2 * NO_PROGRESS_S)
    assert "1 of 2 files are not done (1 not found); the first of them:\n  e b: not found" in str(stopped.value)


@pytest.mark.parametrize("stage", ["failed", "error", "lost"])
def test_a_burst_stops_at_once_when_files_are_given_up_and_names_the_first(stage: Stage) -> None:
    files = by_key(*(status(f"{n}", stage) for n in range(20)), status("good"))
    with pytest.raises(CannotSucceed) as stopped:
        Progress(0.0).check(files, files, 1.0)
    first, *named = str(stopped.value).splitlines()
    assert first == "20 of 21 files are not stored:"
    assert named == [f"  e /pm/{n}: {stage}, it is broken" for n in range(flow_watch.NAMED)]


def test_a_file_keeps_its_key_when_it_is_moved() -> None:
    assert key_of(status("done/a.xml.gz")) == key_of(status("a.xml.gz")) == ("e", "a.xml.gz")


def test_the_end_of_a_log_says_why_a_service_exited(tmp_path: Path) -> None:
    (tmp_path / "scanner.log").write_text("".join(f"line {n}\n" for n in range(100)))
    text = flow_watch.log_tails({name: tmp_path / f"{name}.log" for name in ("scanner", "kafka")}, lines=2)
    assert text.splitlines() == [
        "scanner has exited; the end of its log:", "line 98", "line 99", "kafka has exited; the end of its log:",
    ]  # fmt: skip


# --- growth


def test_growth_compares_each_size_with_the_cheapest_smaller_one() -> None:
    assert growth.growth([5.0, 4.0, 6.0, 5.0]) == 1.5
    assert growth.growth([5.0, 4.0]) == 1.0


def test_what_idle_processes_spend_is_not_charged_to_the_files() -> None:
    burst = flow.Burst(100, 20_000, 5.0, {"scanner": 3.0, "mysql": 2.0, "simulator": 1.0}, 10.0, [], 0.0)
    point = growth.point_of(10, burst, {"scanner": 0.1, "mysql": 0.05}, right=True)
    assert point.product_ms_per_file == pytest.approx(20.0)
    assert point.ms_per_file == pytest.approx(45.0)
    assert point.s_per_million == pytest.approx(225.0)
    assert growth.table([point]).splitlines()[-1].startswith("| 10 | 100 | 20,000 | 20 | 20.00 | 45.00 |")


@pytest.mark.parametrize("size", [10, 100, 1000])
def test_points_differ_in_their_size_only(size: int) -> None:
    by_elements, by_counters = (growth.load_of(by, size, "local") for by in ("elements", "counters"))
    assert by_elements.elements * by_elements.files == growth.FILES
    assert by_counters.cells * by_counters.counters == growth.VALUES_OF_GROUP
