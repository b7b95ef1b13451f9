"""The end of a period is determined from any spelling of times and durations."""

import ast
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.fetcher import parse
from services.fetcher.parse.values.period import Period, duration_s, period_of, time_of


def at(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp())  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("text", "time", "offset_min"),
    [
        ("2023-05-15T07:15:00+0100", at(2023, 5, 15, 6, 15), 60),
        ("2023-05-15T07:15:00+01:00", at(2023, 5, 15, 6, 15), 60),
        ("2029-03-15T21:00:00.000-05:00:00", at(2029, 3, 16, 2), -300),
        ("2023-05-15T07:15:00+05:30", at(2023, 5, 15, 1, 45), 330),
        ("2023-05-15T07:15:00Z", at(2023, 5, 15, 7, 15), 0),
        ("2023-05-15T07:15:00+01", at(2023, 5, 15, 6, 15), 60),
        ("2023-05-15T07:15", at(2023, 5, 15, 5, 15), 120),
        ("2023-05-15 07:15:00", at(2023, 5, 15, 5, 15), 120),
        ("2023-05-15T07:14:59.999Z", at(2023, 5, 15, 7, 15), 0),
        ("2023-05-15T24:00:00Z", at(2023, 5, 16), 0),
        ("20000301141500", at(2000, 3, 1, 12, 15), 120),
        ("20200518160000Z", at(2020, 5, 18, 16), 0),
        ("20200518160000+0200", at(2020, 5, 18, 14), 120),
        ("2023-10-29T02:30:00+02:00", at(2023, 10, 29, 0, 30), 120),  # the hour that comes twice stays two
        ("2023-10-29T02:30:00+01:00", at(2023, 10, 29, 1, 30), 60),
    ],
)
def test_a_time_is_seconds_utc_with_the_offset_it_was_written_with(text: str, time: int, offset_min: int) -> None:
    assert time_of(text, "Etc/GMT-2") == (time, offset_min)


@pytest.mark.parametrize(
    "text",
    ["", "now", "2023-02-31T00:00:00Z", "2023-05-15", "2023-05-15T25:00:00Z", "2023-05-15T07:61:00Z", "1684131300"],
)
def test_anything_else_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        time_of(text, "UTC")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("PT900S", 900),
        ("PT15M", 900),
        ("PT1H", 3600),
        ("P1D", 86400),
        ("P1DT1H1M1S", 90061),
        ("PT5M0S", 300),
        ("900", 900),
    ],
)
def test_a_duration_is_seconds(text: str, seconds: int) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "PT", "P1M", "PT0S", "-PT15M", "PT0.5S", "15M", "PT15"])
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        duration_s(text)


def test_the_end_is_what_the_file_says_else_begin_and_duration() -> None:
    assert period_of("", "2023-05-15T07:15:00Z", "PT15M", "UTC") == Period(at(2023, 5, 15, 7, 15), 900, 0)
    assert period_of("2023-05-15T07:00:00Z", "", "PT15M", "UTC") == Period(at(2023, 5, 15, 7, 15), 900, 0)


def test_no_code_between_a_files_bytes_and_its_messages_knows_what_time_it_is() -> None:
    service = Path(parse.__file__).parents[1]
    rooms = ("parse", "rows", "preprocess", "assemble")
    modules = [module for room in rooms for module in (service / room).rglob("*.py")]
    assert len(modules) > 30
    for module in modules:
        nodes = list(ast.walk(ast.parse(module.read_text())))
        assert not {node.attr for node in nodes if isinstance(node, ast.Attribute)} & {"now", "today", "utcnow"}, module
        assert not any(isinstance(node, ast.ImportFrom) and node.module == "time" for node in nodes), module
        assert "time" not in {a.name for node in nodes if isinstance(node, ast.Import) for a in node.names}, module
