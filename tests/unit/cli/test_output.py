"""Whatever a file, an element, a message or a database says, commands print it as plain text on one line."""

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any
from unicodedata import category

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from services.scanner.operate import ScanSummary, SystemState
from shared.kafka.record import Record
from shared.messages import FileStatus, SetAside, SinkPosition
from shared.settings import load
from tests.unit.tracker.test_cycles import PLANTED, figures
from tools.cli.doctor.command import report_lines
from tools.cli.doctor.findings import Finding
from tools.cli.main import app
from tools.cli.operate.cycles import cycle_table, cycles_table
from tools.cli.operate.errors import errors_table, failures, grouped
from tools.cli.operate.ledger import ledger_of, ledger_records
from tools.cli.operate.quarantine import items_table, quarantined_items
from tools.cli.operate.status import files_table, systems_table
from tools.cli.operate.trace import hops_of, hops_table
from tools.cli.operate.verify import Outcome, outcomes_table
from tools.cli.output import OutputTable, say, say_json, show

HOSTILE = (
    "[/b]", "[red]OK[/red]", "[link=http://x]y[/link]", "\\[/]", ":bomb:",
    "\x1b[2J\x1b]0;title\x07", "\x9b31m", "\x00\x7f\x85",
    "one\nINFO scanner: file done", "\r\n", "\u2028\u2029", "\t",
    "\u202egnp.exe", "\u2066a\u2069", "\u200b\ufeff\U000e0041", "\ud800",
    "x" * 300, "\u7f51\u5143 \u00e9",
)  # fmt: skip


def status(name: str, **fields: Any) -> FileStatus:
    return FileStatus(**{
        "file_id": "0" * 16, "system": name, "endpoint": name, "element": name, "path": name, "size": 1, "mtime_s": 1,
        "epoch": 1, "stage": "error", "at_s": 1.0, "reason": name, "topic": "pm.counters.4ga", "partition": 0,
        "last_offset": 3, "rows": 1, **fields,
    })  # fmt: skip


def aside(name: str) -> SetAside:
    return SetAside(
        sink=name, topic=f"pm.counters.{name}", partition=0, offset=1, file_id="0" * 16, element=name, values=1,
        reason=name, at_s=1.0, content="0" * 16,
    )  # fmt: skip


def letters(name: str) -> list[Record]:
    block = orjson.dumps({"reason": name, "element": name, "file_id": name}) if name.isprintable() else b"{"
    headers = {"reason": name, "origin": name, "sink": name}
    return [Record(f"pm.counters.{name}.dlq", 0, 1, name.encode(errors="replace"), block, 0.0, headers)]


def errors(name: str) -> OutputTable:
    return errors_table(grouped(failures([status(name), status(name, moves_refused=1, not_moved=name)], [aside(name)])))


def systems(name: str) -> OutputTable:
    scan = ScanSummary(elements=1, left={name: 1})
    return systems_table(
        [
            SystemState(system=name, scanner=name, state="failed", since_s=1.0, reason=name),
            SystemState(system=name, scanner=name, state="leading", since_s=1.0, scan=scan),
        ]
    )


def cycles(name: str) -> Iterable[OutputTable]:
    found = replace(figures(PLANTED), system=name, missing=[name], stored={name: 1}, values_stored={name: 1})
    return cycles_table([found]), cycle_table(found)


def trace(name: str) -> OutputTable:
    position = SinkPosition(sink=name, topic="pm.counters.4ga", partition=0, next_offset=9)
    records: list[Any] = [("a/0/1", status(name)), ("a/0/2", aside(name)), ("a/0/3", position)]
    return hops_table(name, hops_of(records, name), load(()))


RENDERINGS: dict[str, Callable[[str], Any]] = {
    "errors": errors,
    "status, systems": systems,
    "status, files": lambda name: files_table([status(name), status(name, stage="parsed", moves_refused=1)]),
    "cycles": cycles,
    "trace": trace,
    "quarantine list": lambda name: items_table(quarantined_items([status(name)], {name: letters(name)})),
    "verify": lambda name: outcomes_table([Outcome(name, name)]),
}


def printed(*parts: Any, width: int = 4000) -> str:
    written = StringIO()
    show(*parts, console=Console(file=written, width=width, force_terminal=False))
    return written.getvalue()


def is_harmless(text: str) -> bool:
    return all(one == "\n" or one.isprintable() or category(one) == "Zs" for one in text)


@pytest.mark.parametrize("command", RENDERINGS)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_shown_as_text_in_one_line(command: str, name: str) -> None:
    made = RENDERINGS[command](name)
    tables = (made,) if isinstance(made, OutputTable) else made
    for table in tables:
        text, plain = printed(table), printed(*(made if not isinstance(made, OutputTable) else (made,)))
        assert is_harmless(text), ascii(text)
        assert is_harmless(plain)
        harmless = RENDERINGS[command]("plain")
        others = (harmless,) if isinstance(harmless, OutputTable) else tuple(harmless)
        assert len(plain.splitlines()) == len(printed(*others).splitlines())
    if name.isprintable():
        assert name in printed(*tables)


@given(name=st.text(st.characters(), max_size=40))
def test_whatever_the_text_a_table_a_line_and_a_json_line_stay_what_they_are(name: str) -> None:
    table = OutputTable("a", name, title=name)
    table.add_row(name, name)
    assert is_harmless(printed(table, name))
    assert len(printed(name).splitlines()) == 1


def test_lines_and_json_are_harmless_and_json_keeps_its_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    for name in HOSTILE:
        say(name)
        say(name, err=True)
        out, err = capsys.readouterr()
        assert out == err
        assert is_harmless(out)
        assert out.count("\n") == 1
        if "\ud800" not in name:
            say_json(orjson.dumps({"a": name}))
            out = capsys.readouterr().out
            assert is_harmless(out)
            assert orjson.loads(out) == {"a": name}
    say_json(b"\x1b[2J\xff not JSON\n")
    assert is_harmless(capsys.readouterr().out)


def test_a_parsed_file_with_hostile_names_is_printed_as_harmless_json(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "data" / "samples" / "A1.xml").read_text(encoding="utf-8")
    name = "evil\u202e\u0085[/b]"
    file = tmp_path / "A20261125.0700-0715_x.xml"
    file.write_text(re.sub(r'measObjLdn="[^"]*"', f'measObjLdn="{name}"', text), encoding="utf-8")
    ran = CliRunner().invoke(app, ["parse", str(file)])
    assert ran.exit_code in (0, 1)
    assert is_harmless(ran.output)
    if ran.exit_code == 0:
        assert {orjson.loads(line)["object"] for line in ran.stdout.splitlines()} == {name}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_finding_with_a_hostile_name_is_shown_as_text(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for line in report_lines(Finding("error", name, f"a {name}", name), 80):
        say(line)
        shown = capsys.readouterr().out
        assert is_harmless(shown)
        assert shown.count("\n") == 1


def test_an_error_that_ends_a_command_is_one_harmless_line(tmp_path: Path) -> None:
    (tmp_path / "pmflow.yaml").write_text('"4g\\e[2J": {depth: 1}')
    ran = CliRunner().invoke(app, ["status"], env={"PMFLOW_CONFIG": str(tmp_path / "pmflow.yaml")})
    assert ran.exit_code == 1
    assert is_harmless(ran.output)
    assert ran.output.startswith("pmflow: ")
    assert ran.output.count("\n") == 1


def test_invalid_records_of_the_ledger_cost_themselves() -> None:
    good = status("e1")
    bad = (b"", b"{", b'{"kind":[]}', b"[]", b'{"kind":"file-status"}')
    records = [Record("t", 0, n, b"k", value, 0.0) for n, value in enumerate((*bad, good.encode(), *bad))]
    assert ledger_of(records).files == {good.file_id: good}
    assert [found for _, found in ledger_records(records)] == [good]


def test_a_tombstone_removes_a_file_from_the_ledger() -> None:
    good = status("e1")
    values = [good.encode(), None]
    records = [Record("t", 0, n, good.file_id.encode(), value, 0.0) for n, value in enumerate(values)]
    assert ledger_of(records).files == {}
    assert ledger_of(records[:1]).files == {good.file_id: good}
