"""The statements in docs/querying.md give the true answers, in both databases, on files of the simulator."""

import re
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.ch_bridge.connection import Connection, client_of
from services.ch_bridge.files import FileTable as ClickhouseFiles
from services.ch_bridge.repository import ClickhouseRepository
from services.ch_bridge.settings import Clickhouse
from services.ch_bridge.sink import ClickhouseBridge
from services.fetcher.assemble.batches import read_file
from services.fetcher.assemble.result import Origin
from services.mysql_writer.connection import connect
from services.mysql_writer.files import FileTable as MysqlFiles
from services.mysql_writer.repository import Repository
from services.mysql_writer.settings import Mysql, MysqlRules
from services.mysql_writer.sink import MysqlWriterWorker
from shared.messages import CounterBatch, FileStatus, file_identity
from shared.sinks.rules import StorageRules
from shared.versions import version_of
from tests.integration import mariadb
from tools.devstack.stack import Stack
from tools.simulator.generate import PmFile, Shape, pm_file
from tools.simulator.truth_row import TruthRow

PAGE = Path(__file__).parents[2] / "docs" / "querying.md"
SHAPE = Shape(seed=3, cells=4, groups=3, counters=12)
LAST_S = 1_795_526_100
"""2026-11-24 13:15 UTC."""
PERIODS = [LAST_S - 900 * back for back in (3, 2, 1, 0)]
UNITS = {"RRC.ConnMean": "1", "DRB.PdcpSduVolumeDL_Filter": "kbit"}
ATTEMPTS, SUCCESSES, VOLUME = "RRC.ConnEstabAtt.Sum", "RRC.ConnEstabSucc.Sum", "DRB.PdcpSduVolumeDL_Filter"
Answer = list[tuple[Any, ...]]


def made() -> Iterator[PmFile]:
    """Files of four elements and four periods; the last element sends nothing for the last period."""
    for number in range(1, 5):
        for end_s in PERIODS[: -1 if number == 4 else None]:
            yield pm_file(SHAPE, "4ga", f"4ga-{number:03}", end_s)


FILES = list(made())
BROKEN = "/pm/A20261124.1300+0000-1315+0000_4ga-009.xml"
CELLS = [row for file in FILES for row in file.rows if row.group == "EUtranCellFDD"]


def delay_s(file: PmFile) -> float:
    """Returns the time after which a file is stored: a different one for each element and period."""
    return 30.5 + int(file.element[-1]) * 10 + PERIODS.index(file.end_s)


def stored(file: PmFile) -> tuple[list[CounterBatch], FileStatus]:
    """Returns the batches and the last status of a file."""
    path = f"/pm/{file.name}"
    identity = file_identity("4ga", f"ftp-{file.element}", path, len(file.packed), file.end_s)
    parsed = read_file(file.packed, Origin("4ga", identity, file.element, version_of(identity, file.end_s)))
    counts, at_s = parsed.counts, file.end_s + delay_s(file)
    status = FileStatus(
        file_id=identity, system="4ga", endpoint=f"ftp-{file.element}", element=file.element, path=path,
        size=len(file.packed), mtime_s=file.end_s, epoch=1, end_s=file.end_s, stage="done", at_s=at_s + 1,
        parsed_s=at_s - 1, stored_s=at_s, rows=counts.rows, values=counts.values, nulls=counts.nulls,
        quarantined=7 if file is FILES[0] else 0, reason="conflicting values: 7" if file is FILES[0] else "",
        job=",".join(parsed.facts.jobs), sw_version=parsed.facts.sw_version,
        managed_element=parsed.facts.managed_element,
    )  # fmt: skip
    batches = [CounterBatch.decode(batch.value) for batch in parsed.batches]
    units = {counter: unit for counter, unit in UNITS.items() if counter in batches[0].counters}
    return [replace(b, units=units if b.group == "EUtranCellFDD" else {}) for b in batches], status


def failed() -> FileStatus:
    return FileStatus(
        file_id="0" * 16, system="4ga", endpoint="ftp-4ga-009", element="4ga-009", path=BROKEN, size=1, mtime_s=LAST_S,
        epoch=1, end_s=LAST_S, stage="error", at_s=LAST_S + 60.0, reason="not well-formed: line 1, column 0",
    )  # fmt: skip


@dataclass
class Store:
    """A database with the files of the simulator."""

    dialect: str
    ask: Callable[[str], Sequence[Sequence[Any]]]


@pytest.fixture(scope="module", params=["mysql", *mariadb.IF_THERE, "clickhouse"])
def store(request: pytest.FixtureRequest, stack: Stack) -> Iterator[Store]:
    name = f"querying_{uuid.uuid4().hex[:8]}"
    known = list(map(stored, FILES))
    batches = [batch for some, _ in known for batch in some]
    statuses = [*(status for _, status in known), failed()]
    if request.param == "clickhouse":
        at = Clickhouse(url=f"{stack.clickhouse_url}/{name}")
        clickhouse, connection = ClickhouseRepository(at, lambda _: StorageRules(split_dn=True)), Connection(at)
        ClickhouseBridge(clickhouse).write(batches, {})
        ClickhouseFiles(connection).keep(statuses)
        yield Store("ClickHouse", lambda query: client_of(at).query(query).result_rows)
        clickhouse.close()
        connection.close()
        return
    port = request.getfixturevalue("mariadb_port") if request.param == "mariadb" else stack.mysql_port
    mysql = Mysql(host=stack.mysql_host, port=port, user="root", database=name)
    repository, table = Repository(mysql, lambda _: MysqlRules(split_dn=True)), MysqlFiles(mysql)
    MysqlWriterWorker(repository).write(batches, {})
    table.keep(statuses)

    def ask(query: str) -> Sequence[Sequence[Any]]:
        with connect(mysql, name) as line, line.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())

    yield Store("MySQL", ask)
    repository.close()
    table.close()


def statements() -> dict[str, dict[str, str]]:
    """Returns the statements on the page, by number of the question and dialect."""
    _, *questions = re.split(r"^## (\d+)\. .*$", PAGE.read_text(), flags=re.MULTILINE)
    return {
        number: dict(re.findall(r"```sql\n-- (\w+)\n(.*?)```", text, re.DOTALL))
        for number, text in zip(questions[::2], questions[1::2], strict=True)
    }


def plain(value: Any) -> Any:
    """Returns a cell in a form that both databases share."""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, Decimal | float):
        return pytest.approx(float(value), rel=1e-12, abs=1e-12)  # sums depend on the order of their terms
    return value


def number(row: TruthRow, counter: str) -> float | None:
    text = row.values[counter]
    assert text is None or isinstance(text, str)
    return None if text is None else float(text)


def total(rows: Sequence[TruthRow], counter: str) -> float:
    return sum(number(row, counter) or 0.0 for row in rows)


def text_of(end_s: int) -> str:
    return datetime.fromtimestamp(end_s, UTC).strftime("%Y-%m-%d %H:%M:%S")


def cell_of(row: TruthRow) -> str:
    return row.object.rpartition("=")[2]


def development() -> Answer:
    cell = [row for row in CELLS if "4ga-001," in row.object and cell_of(row) == "1"]
    return [(text_of(row.end_s), number(row, ATTEMPTS), number(row, SUCCESSES)) for row in cell]


def busiest() -> Answer:
    rows = [(row.element, cell_of(row), number(row, ATTEMPTS)) for row in CELLS if row.end_s == LAST_S]
    return sorted(rows, key=lambda row: (-1 if row[2] is None else row[2], [-ord(c) for c in row[0] + row[1]]))[::-1][
        :10
    ]


def success_rates() -> Answer:
    by_element = defaultdict(list)
    for row in CELLS:
        if not row.suspect:
            by_element[row.element].append(row)
    totals = ((element, total(rows, SUCCESSES), total(rows, ATTEMPTS)) for element, rows in sorted(by_element.items()))
    return [(element, successes / attempts if attempts else None) for element, successes, attempts in totals]


def traffic() -> Answer:
    hours = Counter[str]()
    for row in CELLS:
        hours[text_of((row.end_s - 1) // 3600 * 3600)] += number(row, VOLUME) or 0.0  # type: ignore[assignment]
    return sorted(hours.items())


def counters() -> Answer:
    return sorted((counter, UNITS.get(counter, "")) for counter in CELLS[0].values)


def suspects() -> Answer:
    return sorted((text_of(row.end_s), row.element, row.object) for row in CELLS if row.suspect)


def provenance() -> Answer:
    (file,) = (file for file in FILES if (file.element, file.end_s) == ("4ga-001", LAST_S))
    return [("ftp-4ga-001", f"/pm/{file.name}", "1", "1.0")]


def silent() -> Answer:
    return [("4ga-004",)]


def unreadable() -> Answer:
    partly = (f"/pm/{FILES[0].name}", "done", 7, "conflicting values: 7")
    return sorted([(BROKEN, "error", 0, "not well-formed: line 1, column 0"), partly])


def slowest() -> Answer:
    longest = {
        element: max(delay_s(f) for f in FILES if f.element == element) for element in {f.element for f in FILES}
    }
    return [*sorted(longest.items(), key=lambda pair: -pair[1]), ("4ga-009", None)]


ANSWERS = (
    development, busiest, success_rates, traffic, counters, suspects, provenance, silent, unreadable, slowest
)  # fmt: skip


def test_the_page_has_ten_questions_each_in_both_dialects() -> None:
    assert list(statements()) == [str(n) for n in range(1, 11)]
    assert all(set(found) == {"MySQL", "ClickHouse"} for found in statements().values())


@pytest.mark.parametrize("at", range(10), ids=[answer.__name__ for answer in ANSWERS])
def test_a_statement_gives_the_true_answer(store: Store, at: int) -> None:
    expected = ANSWERS[at]()
    assert expected
    found = store.ask(statements()[str(at + 1)][store.dialect].rstrip().rstrip(";"))
    assert [tuple(map(plain, row)) for row in found] == expected
