from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.mysql_writer.ddl import CounterColumn
from services.mysql_writer.render import chunks, datetime_number, sql_rows, text_literal, upserts
from shared.errors import Hopeless
from shared.messages import CounterBatch


def batch(**changes: Any) -> CounterBatch:
    fields: dict[str, Any] = {
        "system": "4ga", "file_id": "f", "element": "e1", "group": "G", "job": "", "gp_s": 900, "end_s": 900,
        "end_offset_min": 0, "ver": 1, "counters": ["a", "b"], "rows": [["o2", 0, 1, None], ["o1", 1, 2, None]],
    }  # fmt: skip
    return CounterBatch(**{**fields, **changes})


def test_batches_of_one_group_and_the_same_counters_are_written_together() -> None:
    found = list(chunks([batch(), batch(group="H"), batch(element="e2", ver=2)]))
    assert [chunk.group for chunk in found] == ["G", "H"]
    assert [key[1] for key in found[0].keys] == ["e1", "e1", "e2", "e2"]


def test_a_counter_without_any_value_needs_no_column() -> None:
    (chunk,) = chunks([batch()])
    assert chunk.counters == {"a": [1, 2]}


def test_rows_are_sorted_by_primary_key_and_ver_is_assigned_last() -> None:
    (chunk,) = chunks([batch(parsed_s=7)])
    (statement,) = upserts(
        "4ga_g", {"a": CounterColumn("t", "a", "number")}, chunk, {("e1", "o1"): 1, ("e1", "o2"): 2}, most_rows=10
    )
    rows, update = statement.split(b" ON DUPLICATE KEY UPDATE ")
    assert rows.endswith(b"VALUES (19700101001500,1,900,1,1,7,2),(19700101001500,2,900,0,1,7,1)")
    assert update.endswith(b"ver = GREATEST(ver, VALUES(ver))")


def test_row_by_row_is_one_statement_per_row() -> None:
    (chunk,) = chunks([batch()])
    columns = {"a": CounterColumn("t", "a", "number")}
    assert len(list(upserts("t", columns, chunk, {("e1", "o1"): 1, ("e1", "o2"): 2}, most_rows=1))) == 2


def test_long_texts_are_split_into_statements_that_a_server_accepts() -> None:
    (chunk,) = chunks([batch(counters=["a"], rows=[[f"o{n}", 0, "x" * 300_000] for n in range(9)])])
    ids = {("e1", f"o{n}"): n for n in range(9)}
    statements = list(upserts("t", {"a": CounterColumn("t", "a", "text")}, chunk, ids, most_rows=100))
    assert len(statements) > 1
    assert max(map(len, statements)) < 2_100_000
    assert sum(statement.count(b"(19700101001500,") for statement in statements) == 9


@given(text=st.text())
def test_no_text_ends_its_literal(text: str) -> None:
    rendered = sql_rows([[1, text_literal(text), None]])
    assert rendered == b"(1,_utf8mb4 x'%s',null)" % text.encode().hex().encode()


def test_numbers_are_rendered_unchanged() -> None:
    assert sql_rows([[1, 0.5, None], [-3, 2.5e300, 0]]) == b"(1,0.5,null),(-3,2.5e+300,0)"


def test_a_time_is_rendered_as_a_number_in_utc() -> None:
    assert datetime_number(1684131300) == 20230515061500


def seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def test_a_year_that_mysql_would_take_for_another_one_is_refused() -> None:
    assert datetime_number(seconds("1000-01-01T00:00:00")) == 10000101000000
    assert datetime_number(seconds("9999-12-31T23:59:59")) == 99991231235959
    for end_s in (seconds("0999-12-31T23:59:59"), seconds("0001-01-01T00:00:00"), 253402300800, -(2**63), 2**63 - 1):
        with pytest.raises(Hopeless, match="not between the years 1000 and 9999"):
            datetime_number(end_s)
