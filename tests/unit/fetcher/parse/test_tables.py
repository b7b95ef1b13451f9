"""Tables, golden and generated, give what the reference reader sees in them, however they are cut."""

import json
import re
from dataclasses import fields
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.fetcher.assemble.batches import read_file
from services.fetcher.assemble.result import Origin, Parsed
from services.fetcher.parse.tables import profile
from services.fetcher.parse.tables.profile import Profile
from tests import reference_tables
from tests.reference_tables import DATA, TABLES, golden_lines
from tests.unit.fetcher.parse.reading import cut, rows, without_nulls
from tests.unit.fetcher.parse.tables import Table, tables

PROFILES = {profile["name"]: profile for profile in reference_tables.profiles()}
ELEMENT = "by-name"


def read(data: bytes, name: str, chunk: int) -> Parsed:
    return read_file(cut(data, chunk), Origin("4ga", "aa", ELEMENT, 1, "UTC", name))


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("chunk", [1, 1000])
def test_a_table_gives_its_golden_rows(name: str, chunk: int) -> None:
    golden = [json.loads(line) for line in (DATA / "golden" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
    parsed = read((DATA / "tables" / name).read_bytes(), name, chunk)
    assert without_nulls(rows(parsed)) == without_nulls(golden)
    assert parsed.counts.values == sum(value is not None for row in golden for value in row["values"].values())
    assert golden == [json.loads(line) for line in golden_lines(DATA / "tables" / name).splitlines()]


def test_there_is_a_golden_file_for_each_shipped_profile() -> None:
    assert {profile for profile, _ in TABLES.values()} == set(PROFILES)
    assert {file.name for file in Path(DATA / "tables").iterdir()} == set(TABLES)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tables(), st.sampled_from((1, 7, 64, 1 << 16)))
def test_tables_are_read_as_the_reference_reads_them(table: Table, chunk: int) -> None:
    expected = without_nulls(
        reference_tables.rows(table.text, PROFILES[table.profile], table.file_name, element=ELEMENT)
    )
    parsed = read(table.text.encode(), table.file_name, chunk)
    assert without_nulls(rows(parsed)) == expected
    assert parsed.counts.values == sum(len(row["values"]) for row in expected)
    assert ("no values" in parsed.notes) == (not parsed.counts.values and not parsed.counts.reasons)
    assert parsed == read(table.text.encode(), table.file_name, 1 << 16)


def test_the_walk_through_of_the_docs_works(tmp_path: Path) -> None:
    """The table and the profile in the test are those of the page."""
    page = (DATA.parents[1] / "docs" / "profiles.md").read_text()
    table, own = (re.search(rf"```{kind}\n(.*?)```", page, re.DOTALL) for kind in ("csv", "yaml"))
    assert table
    assert own
    (tmp_path / "german.yaml").write_text(dedent(own[1]))
    origin = Origin("4ga", "aa", "", 1, "UTC", "export_CELL_20200518.csv")
    found = rows(
        read_file(table[1].encode(), origin, profiles=tuple(profile.read_profiles([tmp_path, profile.SHIPPED])))
    )
    assert [(row["element"], row["group"], row["object"], row["suspect"], row["values"]) for row in found] == [
        ("ENB-17", "CELL", "Anlage=ENB-17,Zelle=1", False, {"Verbindungsversuche": "120", "Last": "12.5"}),
        ("ENB-17", "CELL", "Anlage=ENB-17,Zelle=2", True, {"Verbindungsversuche": None, "Last": "3.25"}),
    ]
    assert {(row["end_s"], row["gp_s"]) for row in found} == {(1589818500, 900)}


def test_every_key_of_a_profile_is_documented() -> None:
    page = (DATA.parents[1] / "docs" / "profiles.md").read_text().partition("## Keys")[2]
    assert [field.name for field in fields(Profile) if f"`{field.name}`" not in page] == []
