"""The verdict names every file that is stuck, missing or wrongly in error/, and every wrong figure."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from shared.messages import FileStatus, Stage
from tests.chaos.verdict import cycle_problems, file_problems, left_files
from tests.unit.cli.test_cycles import GOOD
from tools.simulator.anomalies import ExpectedFigures
from tools.simulator.generate import Shape
from tools.simulator.truth import Written

END_S = 600
ANSWER = {name: getattr(GOOD, name) for name in ExpectedFigures.__dataclass_fields__}


def line(element: str = "4ga-001", kind: str = "") -> Written:
    return Written("4ga", element, END_S, Shape(gp_s=60), values=1, kind=kind)


def status(stage: Stage, element: str = "4ga-001") -> FileStatus:
    return FileStatus(
        file_id="0123456789abcdef", system="4ga", endpoint=element, element=element, path="/pm/a.xml", size=1,
        mtime_s=1, epoch=1, end_s=END_S, stage=stage, at_s=2.0,
    )  # fmt: skip


def test_finished_files_are_no_problem() -> None:
    written = [line(), line("4ga-002", "corrupt")]
    assert list(file_problems([status("done"), status("error", "4ga-002")], written)) == []


@pytest.mark.parametrize("stage", ["found", "fetching", "postponed", "parsed", "failed", "lost"])
def test_a_file_that_is_not_finished_is_stuck(stage: Stage) -> None:
    first, *_ = file_problems([status(stage)], [line()])
    assert first.startswith("stuck: /pm/a.xml of 4ga-001")


def test_a_good_file_in_error_is_named() -> None:
    assert any(text.startswith("wrongly in error/") for text in file_problems([status("error")], [line()]))


def test_files_that_are_missing_or_unknown_are_counted() -> None:
    assert list(file_problems([], [line()])) == ["4ga 4ga-001: 0 files done, expected 1"]
    assert list(file_problems([status("done")], [])) == ["4ga 4ga-001: 1 files done, expected 0"]


def test_right_figures_are_no_problem() -> None:
    assert list(cycle_problems([GOOD], [ANSWER])) == []


def test_each_wrong_figure_is_named() -> None:
    (told,) = cycle_problems([replace(GOOD, found=GOOD.found + 1)], [ANSWER])
    assert f"found is {GOOD.found + 1}, expected {GOOD.found}" in told
    (told,) = cycle_problems([replace(GOOD, stored={"mysql": GOOD.parsed - 1})], [ANSWER])
    assert "stored in mysql" in told
    (told,) = cycle_problems([replace(GOOD, values_stored={"mysql": GOOD.values + 1})], [ANSWER])
    assert "values in mysql" in told


def test_a_cycle_that_is_missing_or_unknown_is_named() -> None:
    assert "not reported" in next(cycle_problems([], [ANSWER]))
    assert "no file has this period" in next(cycle_problems([GOOD], []))


def test_every_answer_of_the_simulator_is_compared() -> None:
    assert ANSWER.keys() <= asdict(GOOD).keys()


def test_a_file_that_lies_where_it_was_written_is_left(tmp_path: Path) -> None:
    folder = tmp_path / "files" / "4ga" / "4ga-001" / "pm"
    (folder / "done").mkdir(parents=True)
    (folder / "done" / "a.xml").touch()
    assert left_files(tmp_path) == []
    (folder / "b.xml").touch()
    assert left_files(tmp_path) == [folder / "b.xml"]
